from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from oracles import rivals as oracle

import ted_core as ted
from ted_core.selection._randomness import tie_hash
from ted_core.strategies.base import keep_highest

SAMPLES = st.lists(
    st.tuples(
        st.one_of(st.none(), st.sampled_from([0.0, 0.5, -2.0, 3e30])),
        st.sampled_from([-7, 0, 3]),
    ),
    min_size=1,
    max_size=30,
)


def by_rank(score, *, seed, epoch):
    """Give the ids from best to worst."""
    hashes = tie_hash(np.arange(len(score)), seed=seed, epoch=epoch).tolist()
    best = [math.inf if s is None else s for s in score]
    return sorted(range(len(score)), key=lambda k: (best[k], hashes[k]), reverse=True)


@settings(max_examples=100, deadline=None)
@given(SAMPLES, st.floats(0.01, 1), st.integers(0, 2**64 - 1), st.data())
def test_each_class_keeps_its_best_up_to_its_floor_then_the_best_stay(
    samples, share, seed, data
):
    score, labels = map(list, zip(*samples, strict=True))
    sizes = [labels.count(label) for label in set(labels)]
    least = sum(max(1, math.floor(share * size)) for size in sizes)
    count = data.draw(st.integers(least, len(score)))
    keys = np.array([math.inf if s is None else s for s in score], np.float32)
    request = ted.Request(
        n=len(score),
        count=count,
        keep_ratio=1.0,
        epoch=4,
        seed=seed,
        ranking=keys.copy,
        labels=np.array(labels),
    )
    kept = keep_highest(keys, request, floor=share)
    rank = by_rank(score, seed=seed, epoch=4)
    assert kept.tolist() == oracle.with_floors(rank, count, share, labels)


@settings(max_examples=40, deadline=None)
@given(
    st.lists(st.integers(0, 2), min_size=20, max_size=50),
    st.floats(0, 0.3),
    st.sampled_from(["TopScore", "SoftTop", "UCB", "Static"]),
)
def test_no_class_falls_below_its_share_in_any_epoch(labels, floor, name):
    labels = np.array(labels)
    sizes = np.bincount(labels)
    assume(sizes[sizes > 0].min() > 3)
    options = {"class_floor": floor}
    score = -labels + np.arange(labels.size) % 3 / 3
    strategy = (
        ted.Static(score, **options)
        if name == "Static"
        else getattr(ted, name)(**options)
    )
    schedule = ted.Linear(0.6, anneal=0)
    pruner = ted.Pruner(
        labels.size, epochs=6, schedule=schedule, strategy=strategy, labels=labels
    )
    while not pruner.finished:
        plan = pruner.plan()
        kept = np.bincount(labels[plan.kept], minlength=sizes.size)
        assert np.all(kept >= np.floor(floor * sizes))
        if floor > 0:
            assert np.all(kept[sizes > 0] >= 1)
        pruner.observe(plan.order, score[plan.order])
        pruner.advance()
    assert len(plan) < labels.size


@pytest.mark.parametrize("make", [ted.TopScore, ted.SoftTop, ted.UCB])
@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({}, "`labels` must be given for `class_floor`=0.9"),
        (
            {"labels": np.arange(20) % 2},
            "`class_floor` must leave at most 10 samples, .* got 0.9 which keeps 18",
        ),
    ],
)
def test_floors_without_labels_or_above_the_smallest_epoch_are_refused(
    make, options, message
):
    schedule = ted.Constant(0.5)
    with pytest.raises(ValueError, match=message):
        ted.Pruner(
            20, epochs=6, schedule=schedule, strategy=make(class_floor=0.9), **options
        )
