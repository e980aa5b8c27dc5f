from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from oracles import rivals as oracle

import ted_core as ted
from ted_core.selection.top_k import mid_ranks

few = settings(max_examples=60, deadline=None)
SCORES = st.lists(
    st.one_of(
        st.none(),
        st.sampled_from([0.0, -0.0, 0.5, -2.0, 3e38, -3e38, 1e-40]),
        st.floats(-10, 10, width=32),
    ),
    min_size=1,
    max_size=25,
)
KNOWN = SCORES.map(lambda score: [s for s in score if s is not None])


def drawn(score, count, *, sharpness=1.0, seed=0, epoch=1):
    ranking = np.array([math.inf if s is None else s for s in score], np.float32)
    request = ted.Request(
        n=len(score),
        count=count,
        keep_ratio=count / len(score),
        epoch=epoch,
        seed=seed,
        ranking=ranking.copy,
    )
    return ted.SoftTop(sharpness=sharpness).select(request).kept.tolist()


def ranks_of(scores):
    ranks = np.full(scores.size, np.nan)
    for ids, rank in mid_ranks(scores):
        assert np.isnan(ranks[ids]).all()
        ranks[ids] = rank
    return ranks


@few
@given(KNOWN, st.integers(0, 3), st.integers(1, 30))
def test_the_rank_is_the_share_below_with_half_of_the_equal_ones(score, last, chunk):
    exact = [float(np.float32(s)) for s in score]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("ted_core.selection.top_k._CHUNK", chunk)
        ranks = ranks_of(np.array([-math.inf] * last + exact, np.float32))
    expected = [math.nan] * last + oracle.q(exact)
    np.testing.assert_allclose(ranks, expected, rtol=1e-12)


@few
@given(SCORES, st.floats(0, 9), st.integers(0, 2**64 - 1), st.data())
def test_a_selection_is_that_of_a_full_sort_of_the_keys(score, power, seed, data):
    k = data.draw(st.integers(1, len(score)))
    expected = oracle.soft_top(score, k, power, seed=seed, epoch=1)
    assert drawn(score, k, sharpness=power, seed=seed) == expected


def test_more_ids_than_a_packed_sort_holds_are_ranked_alike(monkeypatch):
    scores = np.float32(np.random.default_rng(0).integers(0, 50, 1000))
    packed = ranks_of(scores)
    monkeypatch.setattr("ted_core.selection.top_k._MAX_PACKED", 999)
    np.testing.assert_array_equal(ranks_of(scores), packed)


@few
@given(SCORES, st.floats(0, 1e30), st.integers(0, 2**64 - 1), st.data())
def test_k_distinct_samples_are_drawn_those_never_presented_first(
    score, sharpness, seed, data
):
    k = data.draw(st.integers(1, len(score)))
    kept = drawn(score, k, sharpness=sharpness, seed=seed)
    assert kept == sorted(set(kept))
    assert len(kept) == k
    new = {i for i, s in enumerate(score) if s is None}
    assert len(new & set(kept)) == min(k, len(new))


@pytest.mark.parametrize("sharpness", [0.0, 0.5, 1.0, 3.0])
@pytest.mark.parametrize("k", [1, 3])
def test_each_sample_is_drawn_as_often_as_one_by_one_by_its_weight(sharpness, k):
    score, runs = [0.3, -1.0, 5.0, 0.3, 2.0], 4000
    w = [rank**sharpness for rank in oracle.q(score)]
    chance = np.array(oracle.inclusion(w, k))
    times = np.zeros(5)
    for epoch in range(runs):
        times[drawn(score, k, sharpness=sharpness, epoch=epoch)] += 1
    deviation = np.sqrt(runs * chance * (1 - chance))
    assert np.all(np.abs(times - runs * chance) < 4.5 * deviation)


@few
@given(KNOWN.filter(bool), st.integers(0, 2**64 - 1), st.data())
def test_an_increasing_function_of_the_values_draws_the_same_samples(score, seed, data):
    k = data.draw(st.integers(1, len(score)))
    score = [float(np.float32(s)) for s in score]
    place = {s: i for i, s in enumerate(sorted(set(score)))}
    moved = [place[s] ** 3 - 7.0 for s in score]
    assert drawn(score, k, seed=seed) == drawn(moved, k, seed=seed)


@few
@given(st.permutations(range(20)), st.integers(1, 20), st.integers(0, 2**64 - 1))
def test_a_very_sharp_draw_is_top_score_and_a_blunt_one_sees_no_score(score, k, seed):
    best = sorted(sorted(range(20), key=score.__getitem__)[20 - k :])
    assert drawn(score, k, sharpness=1e30, seed=seed) == best
    blunt = drawn(score, k, sharpness=0, seed=seed)
    assert blunt == drawn(range(20), k, sharpness=0, seed=seed)


def test_another_epoch_or_seed_draws_others_and_the_same_ones_the_same():
    score = np.sin(np.arange(200)).tolist()
    first = drawn(score, 100)
    assert first == drawn(score, 100)
    assert first != drawn(score, 100, epoch=2)
    assert first != drawn(score, 100, seed=1)


def test_a_run_keeps_the_planned_counts_and_full_data_in_its_tail():
    pruner = ted.Pruner(
        50, epochs=8, schedule=ted.Constant(0.5), strategy=ted.SoftTop(sharpness=2)
    )
    planned = pruner.schedule_table()["kept"].tolist()
    kept = []
    while not pruner.finished:
        plan = pruner.plan()
        kept.append(len(plan))
        assert plan.loss_scale == 50 / planned[plan.epoch]
        pruner.observe(plan.order, plan.order / 7)
        pruner.advance()
    assert kept == planned
    assert kept == [25] * 7 + [50]


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        ({"sharpness": -1}, ValueError, r"`sharpness` .* \[0, 1e\+30\], got -1"),
        ({"sharpness": math.inf}, ValueError, "`sharpness` must be in .* got inf"),
        ({"sharpness": math.nan}, ValueError, "`sharpness` must be in .* got nan"),
        ({"sharpness": "1"}, TypeError, "`sharpness` must be a real number, got '1'"),
        ({"class_floor": 1.5}, ValueError, r"`class_floor` .* \[0, 1\], got 1.5"),
    ],
)
def test_bad_parameters_are_refused_by_name(options, error, message):
    with pytest.raises(error, match=message):
        ted.SoftTop(**options)
