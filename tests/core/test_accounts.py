"""Which samples of a plan were delivered, missing, unexpected and repeated."""

from __future__ import annotations

from collections import Counter

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from ted_core.history import EpochAccounts, times_in

ids = st.lists(st.integers(0, 8), max_size=20)


@given(st.permutations(range(9)), st.integers(1, 9), ids)
def test_accounts_are_those_of_counting_by_hand(order, kept, delivered):
    order = np.array(order[:kept], np.int32)
    times, plan = Counter(delivered), set(order.tolist())
    accounts = EpochAccounts(order, np.bincount(delivered, minlength=9).astype("u1"))
    assert accounts.planned == kept
    assert accounts.observed == len(delivered)
    assert accounts.distinct == len(times)
    assert accounts.delivered == len(plan & times.keys())
    assert accounts.missing == len(plan - times.keys())
    assert accounts.unexpected == len(times.keys() - plan)
    assert accounts.repeated_ids.tolist() == [k for k in order if times[k] > 1]
    assert accounts.exact == (sorted(delivered) == sorted(plan))
    assert accounts.forwarded == accounts.delivered
    assert bool(accounts.missing_warning(3, 2)) == (accounts.missing > 2)


@given(st.permutations(range(9)), st.integers(1, 9), st.integers(1, 4), st.data())
def test_what_the_processes_forward_adds_up(order, kept, processes, data):
    order = np.array(order[:kept], np.int32)
    share = -(-kept // processes)
    padded, total = np.resize(order, share * processes), 0
    for rank in range(processes):
        mine = padded[rank::processes]
        # Some are not delivered, and some more than once: two losses of a batch.
        received = [
            k for k in mine.tolist() for _ in range(data.draw(st.integers(0, 3)))
        ]
        times = np.bincount(received, minlength=9).astype("u1")
        expected = times_in(mine, 9)
        assert expected.tolist() == np.bincount(mine, minlength=9).tolist()
        accounts = EpochAccounts(order, times, expected=expected)
        by_hand = Counter(received) & Counter(mine.tolist())
        assert accounts.forwarded == by_hand.total()
        total += accounts.forwarded
    assert total <= padded.size
