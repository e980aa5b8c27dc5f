from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from oracles.algorithm1 import kept_by_definition_3

import ted_core as ted
from ted_core.selection._randomness import tie_hash
from ted_core.selection.top_k import highest_hashes, median

scores = arrays(
    np.float32,
    st.integers(1, 40),
    elements=st.sampled_from([0.0, -0.0, 0.25, 1.0, -3.0, 1e30]),
)


@given(scores, st.data(), st.integers(0, 2**64 - 1), st.integers(0, 100))
def test_kept_and_redundant_are_definition_3_by_a_full_sort(s, data, seed, epoch):
    m = data.draw(st.integers(0, s.size))
    kept = ted.top_ids(s, m, seed=seed, epoch=epoch)
    pruned = ted.redundant_subset(s, s.size - m, seed=seed, epoch=epoch)
    expected = kept_by_definition_3(s.tolist(), m, seed=seed, epoch=epoch)
    assert kept.tolist() == expected
    assert sorted([*kept.tolist(), *pruned.tolist()]) == list(range(s.size))


@given(st.integers(1, 200), st.data(), st.integers(0, 2**64 - 1))
def test_the_highest_hashes_are_those_of_a_full_sort(n, data, seed):
    count = data.draw(st.integers(0, n))
    ids = np.arange(n)
    hashes = tie_hash(ids, seed=seed, epoch=3)
    expected = np.sort(np.argsort(hashes)[n - count :])
    drawn = highest_hashes(ids, count, seed=seed, epoch=3)
    assert drawn.tolist() == expected.tolist()


SHAPES = {
    "uniform": lambda r, n: r.random(n),
    "spread": lambda r, n: np.exp(9 * r.normal(size=n)),
    "signed": lambda r, n: r.normal(size=n),
    "five values": lambda r, n: r.integers(0, 5, n),
    "all equal": lambda _, n: np.ones(n),
    "narrow": lambda r, n: 1 + 1e-4 * r.random(n),
    "many zeros": lambda r, n: np.where(r.random(n) < 0.4, 0, r.normal(size=n)),
    "one far away": lambda r, n: np.where(np.arange(n) == 3, -1e38, r.random(n)),
    "some new": lambda r, n: np.where(r.random(n) < 0.1, np.inf, r.random(n)),
    "all new": lambda _, n: np.full(n, np.inf),
}


@pytest.mark.parametrize("shape", SHAPES)
def test_of_many_scores_the_highest_are_those_of_a_full_sort(shape):
    n = 100_000
    s = SHAPES[shape](np.random.default_rng(n), n).astype(np.float32)
    ids = np.arange(n, dtype=np.int32)
    hashes = tie_hash(ids, seed=n, epoch=2)
    for count in (1, n // 3, n - 1):
        kept = ted.top_ids(s, count, seed=n, epoch=2)
        expected = np.sort(np.lexsort((hashes, s + np.float32(0)))[n - count :])
        np.testing.assert_array_equal(kept, expected)
        drawn = highest_hashes(ids, count, seed=n, epoch=2)
        np.testing.assert_array_equal(drawn, np.sort(np.argsort(hashes)[n - count :]))
        assert drawn.dtype == kept.dtype == ids.dtype


@given(
    arrays(
        np.float32,
        st.integers(0, 9),
        elements=st.floats(width=32, allow_nan=False, allow_infinity=False),
    )
)
def test_the_median_is_that_of_numpy_in_float64(numbers):
    expected = np.float32(np.median(numbers.astype(np.float64))) if numbers.size else 0
    assert median(numbers) == expected


def test_hashes_are_one_to_one_and_change_with_the_epoch():
    ids = np.arange(10**5)
    first, second = (tie_hash(ids, seed=7, epoch=e) for e in (0, 1))
    assert np.unique(first).size == ids.size
    assert not np.any(first == second)


def test_among_equal_scores_every_sample_is_kept_equally_often():
    kept = np.zeros(200)
    for epoch in range(400):
        kept[ted.top_ids(np.zeros(200, np.float32), 100, seed=1, epoch=epoch)] += 1
    # a binomial of 400 draws has mean 200 and sd 10
    assert np.all(np.abs(kept - 200) < 50)
    assert abs(kept[:100].sum() - kept[100:].sum()) < 2000


def test_a_never_presented_sample_outranks_the_largest_score():
    s = np.array([np.finfo(np.float32).max, np.inf, 0], np.float32)
    assert ted.top_ids(s, 1).tolist() == [1]


@pytest.mark.parametrize(
    ("s", "count", "message"),
    [
        ([[1.0]], 1, r"`scores` must have shape \(n,\), got shape \(1, 1\)"),
        ([math.nan, 1.0], 1, "`scores` must not hold NaN"),
        ([math.nan, 1.0], 2, "`scores` must not hold NaN"),
        ([1.0], 2, r"`count` must be in \[0, 1\], got 2"),
        ([1.0], -1, r"`count` must be in \[0, 1\], got -1"),
    ],
)
def test_bad_scores_and_counts_are_refused_by_name(s, count, message):
    with pytest.raises(ValueError, match=message):
        ted.top_ids(np.array(s, np.float32), count)


@given(
    st.integers(1, 10**9),
    st.floats(0, 1, exclude_min=True),
    st.integers(1, 1000),
)
def test_the_kept_count_is_rounded_at_least_one_and_never_above_n(n, ratio, multiple):
    count = ted.keep_count(n, ratio, multiple_of=multiple)
    nearest = max(1, math.floor(ratio * n + 0.5))
    assert count == min(n, math.ceil(nearest / multiple) * multiple)


@given(
    st.integers(0, 500),
    st.integers(1, 40),
    st.integers(1, 4),
    st.integers(1, 4),
    st.booleans(),
)
def test_steps_are_those_of_a_loop_over_the_batches(count, batch, acc, world, drop):
    share = math.ceil(count / world)  # samplers pad, whatever the loaders drop
    sizes = [min(batch, share - i) for i in range(0, share, batch)]
    batches = [size for size in sizes if size == batch or not drop]
    steps = len(range(0, len(batches), acc))
    assert steps == ted.steps_for(
        count, batch, accumulation=acc, world_size=world, drop_last=drop
    )
