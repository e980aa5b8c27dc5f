"""Which samples of a plan were delivered, missing, unexpected and repeated."""

from __future__ import annotations

from collections import Counter

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from ted_core.history import EpochAccounts

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
    assert accounts.missing_ids.tolist() == [k for k in order if not times[k]]
    assert accounts.repeated_ids.tolist() == [k for k in order if times[k] > 1]
    assert accounts.exact == (sorted(delivered) == sorted(plan))
