from __future__ import annotations

import random

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import ted_core as ted
from ted_core.selection._randomness import ORDER, SELECT, stream

WORDS = 5000


def words(seed, purpose, epoch):
    generator = stream(seed, purpose=purpose, epoch=epoch)
    return generator.integers(2**64, size=WORDS, dtype=np.uint64, endpoint=False)


@settings(max_examples=15, deadline=None)
@given(st.integers(0, 2**64 - 1), st.integers(0, 2**63))
def test_neighbouring_epochs_purposes_and_seeds_share_no_word(seed, epoch):
    streams = [
        words(seed, ORDER, epoch),
        words(seed, ORDER, epoch + 1),
        words(seed, SELECT, epoch),
        words(seed, SELECT, epoch + 1),
        words(seed ^ 1, ORDER, epoch),
    ]
    assert np.unique(np.concatenate(streams)).size == len(streams) * WORDS


def test_a_stream_is_the_same_whenever_it_is_made():
    np.testing.assert_array_equal(words(3, ORDER, 7), words(3, ORDER, 7))


def test_the_bits_of_a_stream_are_those_that_philox_promises():
    bits = np.random.Philox(key=5, counter=[0, 0, SELECT, 9])
    np.testing.assert_array_equal(words(5, SELECT, 9), bits.random_raw(WORDS))


@pytest.mark.parametrize("strategy", [ted.TopScore(), ted.Random()])
def test_a_run_neither_reads_nor_seeds_a_global_generator(strategy):
    def run():
        pruner = ted.Pruner(50, epochs=6, strategy=strategy, seed=1)
        orders = []
        while not pruner.finished:
            order = pruner.plan().order
            orders.append(order.tolist())
            pruner.observe(order, np.sin(order))
            pruner.advance()
        return orders

    np.random.seed(1)  # noqa: NPY002 - the global generator is what is watched
    random.seed(1)
    before = repr(np.random.get_state()), random.getstate()  # noqa: NPY002
    first = run()
    assert (repr(np.random.get_state()), random.getstate()) == before  # noqa: NPY002
    np.random.seed(2)  # noqa: NPY002
    random.seed(2)
    assert run() == first


def test_epochs_of_full_data_differ_in_their_order():
    pruner = ted.Pruner(30, epochs=6, prune_ratio=0)
    orders = set()
    while not pruner.finished:
        order = pruner.plan().order
        orders.add(tuple(order.tolist()))
        pruner.observe(order, order)
        pruner.advance()
    assert len(orders) == 6


def test_every_place_of_the_order_is_equally_likely():
    first = np.array(
        [ted.Pruner(10, epochs=5, seed=s).plan().order[0] for s in range(1000)]
    )
    # a binomial of 1000 draws with 1/10 has mean 100 and sd 9.5
    assert np.all(np.abs(np.bincount(first, minlength=10) - 100) < 48)


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        ({"seed": -1}, ValueError, r"`seed` must be in \[0, 18446744073709551615\]"),
        ({"seed": 2**64}, ValueError, "`seed` must be in"),
        ({"seed": 1.0}, TypeError, "`seed` must be an integer, got 1.0"),
        ({"purpose": 0}, ValueError, "`purpose` must be in"),
        ({"epoch": -1}, ValueError, "`epoch` must be in"),
    ],
)
def test_bad_keys_are_refused_by_name(arguments, error, message):
    with pytest.raises(error, match=message):
        stream(**{"seed": 0, "purpose": ORDER, "epoch": 0, **arguments})
