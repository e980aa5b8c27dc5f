from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

import ted_core as ted
from ted_core.selection.top_k import CHUNK, median, ordered_bits, pieces, thresholds
from ted_core.strategies.soft_top import (
    RankBins,
    mid_ranks,
    soft_keys,
    soft_noise,
    soft_top_ids,
)

BORDERS = [CHUNK, CHUNK + 1]
FLOATS = st.floats(width=32, allow_nan=False)
few = settings(max_examples=50, deadline=None)

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


def scores_of(shape, n):
    return SHAPES[shape](np.random.default_rng(n), n).astype(np.float32)


def highest(keys, count, *, seed, epoch):
    """Sort all of them."""
    hashes = ted.tie_hash(np.arange(keys.size), seed=seed, epoch=epoch)
    return np.sort(np.lexsort((hashes, keys + np.float32(0)))[keys.size - count :])


def soft_by_all_ranks(scores, count, *, sharpness, seed, epoch):
    keys = scores.copy()
    known = np.flatnonzero(~np.isposinf(keys))
    noise = soft_noise(known, seed=seed, epoch=epoch)
    keys[known] = soft_keys(sharpness * np.log(mid_ranks(keys[known])), noise)
    return highest(keys, count, seed=seed, epoch=epoch)


@given(st.integers(0, 3 * CHUNK))
def test_pieces_cut_the_samples_without_a_gap(n):
    places = [0, *(part.stop for part in pieces(n))]
    assert [part.start for part in pieces(n)] == places[:-1]
    assert places[-1] == n
    assert all(0 < b - a <= CHUNK for a, b in pairwise(places))


@given(FLOATS, FLOATS)
def test_bits_have_the_order_of_the_numbers(a, b):
    first, second = ordered_bits(np.array([a, b], np.float32))
    assert (first < second) == (a < b)
    assert (first == second) == (a == b)


@given(
    st.lists(arrays(np.uint32, st.integers(0, 9)), min_size=1, max_size=4), st.data()
)
def test_a_threshold_is_the_number_at_its_place_in_a_full_sort(parts, data):
    numbers = np.sort(np.concatenate(parts))[::-1]
    if not numbers.size:
        return
    count = data.draw(st.integers(1, numbers.size))
    found = thresholds(lambda: [(part, ~part) for part in parts], count)
    assert found == [numbers[count - 1], np.sort(~numbers)[::-1][count - 1]]


@given(st.lists(st.lists(st.floats(-9, 9, width=32)), max_size=4))
def test_the_median_is_that_of_numpy(parts):
    numbers = [np.array(part, np.float32) for part in parts]
    flat = np.concatenate([*numbers, np.empty(0, np.float32)]).astype(np.float64)
    expected = np.float32(np.median(flat)) if flat.size else 0
    assert median(lambda: numbers) == expected


@pytest.mark.parametrize("n", BORDERS)
@pytest.mark.parametrize("shape", SHAPES)
def test_at_the_borders_of_pieces_the_highest_are_those_of_a_full_sort(shape, n):
    scores = scores_of(shape, n)
    for count in (n // 3, n - 1):
        kept = ted.top_ids(scores, count, seed=n, epoch=2)
        np.testing.assert_array_equal(kept, highest(scores, count, seed=n, epoch=2))


@pytest.mark.parametrize("n", BORDERS)
def test_at_the_borders_of_pieces_the_highest_hashes_are_those_of_a_full_sort(n):
    ids = np.arange(n, dtype=np.int32)
    for count in (n // 3, n - 1):
        drawn = ted.highest_hashes(ids, count, seed=n, epoch=2)
        expected = highest(np.zeros(n, np.float32), count, seed=n, epoch=2)
        np.testing.assert_array_equal(drawn, expected)
        assert drawn.dtype == ids.dtype


@pytest.mark.parametrize("sharpness", [0.0, 1.0, 1e6])
@pytest.mark.parametrize("shape", SHAPES)
def test_a_soft_draw_is_the_one_in_which_every_sample_has_its_rank(shape, sharpness):
    for n in (1, 2, 900, CHUNK + 1):
        scores = scores_of(shape, n)
        options = {"sharpness": sharpness, "seed": n, "epoch": 4}
        for count in {1, n // 2 + 1}:
            kept = soft_top_ids(scores, count, **options)
            expected = soft_by_all_ranks(scores, count, **options)
            np.testing.assert_array_equal(kept, expected)


@few
@given(st.lists(st.floats(width=32, allow_nan=False, allow_infinity=False), min_size=1))
def test_bounds_hold_the_mid_rank_and_the_exact_one_is_it(score):
    scores = np.array(score, np.float32)
    ranks, expected = RankBins(scores), mid_ranks(scores)
    bins = ranks.bins(scores)
    least, most = ranks.bounds()
    assert np.all(least[bins] <= expected)
    assert np.all(expected <= most[bins])
    np.testing.assert_array_equal(ranks.exact(scores), expected)
    some = scores[:: max(1, scores.size // 3)]
    at = expected[:: max(1, scores.size // 3)]
    np.testing.assert_array_equal(ranks.exact(some), at)
