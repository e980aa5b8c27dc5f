from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from simulated_ranks import Group, split

import ted_core as ted
from ted_core.selection.sharded import (
    median_over_processes,
    mid_ranks_over_processes,
    top_over_processes,
)
from ted_core.selection.top_k import highest_hashes, mid_ranks, ordered_bits

some = settings(max_examples=150, deadline=None)
TIED = st.sampled_from([0.0, -0.0, 0.5, -2.0, 3e38, -3e38, 1e-40, np.inf])
SCORES = st.lists(st.one_of(TIED, st.floats(-10, 10, width=32)), max_size=40)
SEEDS = st.integers(0, 2**64 - 1)


@st.composite
def shards(draw, scores=SCORES):
    """Give one list of scores a rank, 1 to 4 of them."""
    size = draw(st.integers(1, 4))
    parts = [np.float32(draw(scores)) for _ in range(size)]
    return parts, [part.size for part in parts]


def chosen(parts, sizes, count, *, seed=0, epoch=0, keyed=True):
    """Give the ids that all ranks choose, and the bytes of every sum."""
    group = Group(len(parts))
    ids = split(np.arange(sum(sizes)), sizes)

    def choose(rank, all_sum):
        keys = parts[rank] if keyed else None
        kept = top_over_processes(keys, ids[rank], count, seed, epoch, all_sum)
        return ids[rank][kept]

    return np.concatenate(group.run(choose)).tolist(), group.bytes


def exact_ranks(scores):
    ranks = np.empty(scores.size)
    for ids, rank in mid_ranks(scores):
        ranks[ids] = rank
    return ranks


@given(*2 * [st.floats(width=32, allow_nan=False)])
def test_bits_have_the_order_of_the_numbers(a, b):
    first, second = ordered_bits(np.array([a, b], np.float32))
    assert (first < second) == (a < b)
    assert (first == second) == (a == b)


@some
@given(shards(), SEEDS, st.integers(0, 1000), st.data())
def test_the_ranks_choose_what_one_process_would(split_scores, seed, epoch, data):
    parts, sizes = split_scores
    count = data.draw(st.integers(0, sum(sizes)))
    kept, sums = chosen(parts, sizes, count, seed=seed, epoch=epoch)
    whole = np.concatenate(parts)
    assert kept == ted.top_ids(whole, count, seed=seed, epoch=epoch).tolist()
    assert len(sums) <= 12
    assert max(sums, default=0) <= 4096


@some
@given(shards(), SEEDS, st.data())
def test_a_draw_over_the_ranks_is_that_of_one_process(split_scores, seed, data):
    parts, sizes = split_scores
    count = data.draw(st.integers(0, sum(sizes)))
    kept, sums = chosen(parts, sizes, count, seed=seed, keyed=False)
    every = np.arange(sum(sizes))
    assert kept == highest_hashes(every, count, seed=seed).tolist()
    assert len(sums) <= 8


@some
@given(shards(SCORES.map(lambda scores: [s for s in scores if s != np.inf])))
def test_the_median_of_all_is_numpys(split_scores):
    parts, _ = split_scores
    medians = Group(len(parts)).run(
        lambda rank, all_sum: median_over_processes(parts[rank], all_sum=all_sum)
    )
    whole = np.concatenate(parts).astype(np.float64)
    want = np.float32(np.median(whole) if whole.size else 0)
    assert medians == [want] * len(parts)


@some
@given(shards())
def test_few_scores_have_their_exact_ranks(split_scores):
    parts, sizes = split_scores
    ranks = Group(len(parts)).run(
        lambda rank, all_sum: mid_ranks_over_processes(parts[rank], all_sum=all_sum)
    )
    want = exact_ranks(np.concatenate(parts))
    assert np.concatenate(ranks).tolist() == want.tolist()
    assert len(want) == sum(sizes)


@pytest.mark.parametrize("squeeze", [1e-6, 1.0, 20.0])
def test_many_scores_have_ranks_close_to_the_exact_ones_in_the_same_order(squeeze):
    rng = np.random.default_rng(3)
    scores = np.float32(-1 + squeeze * np.exp(rng.normal(size=30_000)))
    scores[::7] = scores[0]
    sizes = [9_000, 20_000, 1_000]
    group = Group(3)
    parts = split(scores, sizes)
    ranks = np.concatenate(
        group.run(
            lambda rank, all_sum: mid_ranks_over_processes(parts[rank], all_sum=all_sum)
        )
    )
    assert np.abs(ranks - exact_ranks(scores)).max() <= 2**-11
    order = np.argsort(scores)
    assert np.all(np.diff(ranks[order]) >= 0)
    alone = mid_ranks_over_processes(scores, all_sum=lambda array: array)
    assert ranks.tolist() == alone.tolist()
    assert len(group.bytes) <= 8
    assert max(group.bytes) <= 128 * 1024


def test_nan_on_one_rank_is_refused_on_all():
    group = Group(2)

    def refused(rank, all_sum):
        keys = np.float32([1, np.nan] if rank else [1, 2])
        ids = np.arange(2) + 2 * rank
        with pytest.raises(ValueError, match="`keys` must not hold NaN, got 1; rank"):
            top_over_processes(keys, ids, 2, 0, 0, all_sum)
        return True

    assert group.run(refused) == [True, True]


@pytest.mark.parametrize(
    ("ids", "count", "says"),
    [
        ([0, 1], 3, "`count` must be at most the 2 samples of all, got 3"),
        ([5, 5], 1, "`ids` must be distinct over all processes, got 2 samples for 1"),
    ],
)
def test_what_can_not_be_chosen_is_refused(ids, count, says):
    with pytest.raises(ValueError, match=says):
        top_over_processes(
            np.ones(2, np.float32), np.array(ids), count, 0, 0, lambda a: a
        )
