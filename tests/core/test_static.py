from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from oracles.algorithm1 import kept_by_definition_3
from saved_runs import FOLDER

import ted_core as ted
from ted_core.testing import schedules

few = settings(max_examples=50, deadline=None)
SCORES = st.lists(
    st.sampled_from([0.0, 0.5, -2.0, 3e30, float("inf"), -float("inf")]),
    min_size=1,
    max_size=25,
)


def plans(pruner):
    found = []
    while not pruner.finished:
        found.append(pruner.plan())
        pruner.advance()
    return found


def surrogate(**options):
    run = ted.Pruner(12, **{"epochs": 6, "prune_ratio": 0.6, "seed": 4, **options})
    while not run.finished:
        order = run.plan().order
        values = np.cos(order * 1.7 + run.epoch)
        values[order == 3] = np.nan
        run.observe(order, values)
        run.advance()
    return run


@few
@given(SCORES, st.integers(0, 2**64 - 1), st.data())
def test_every_epoch_keeps_the_same_highest_scores(score, seed, data):
    n = len(score)
    ratio = data.draw(st.floats(0, 0.99))
    pruner = ted.Pruner(
        n,
        epochs=6,
        schedule=ted.Constant(ratio, anneal=0),
        strategy=ted.Static(score),
        seed=seed,
    )
    k = ted.keep_count(n, 1 - ratio)
    expected = kept_by_definition_3(score, k, seed=seed, epoch=0)
    for plan in plans(pruner)[1:]:
        assert plan.kept.tolist() == expected


@few
@given(SCORES, schedules(), st.integers(0, 2**32), st.booleans())
def test_where_the_schedule_falls_the_samples_are_among_those_before(
    score, schedule, seed, floors
):
    n = len(score)
    labels = np.arange(n) % 2
    floor = 0.1 if floors and n > 20 else 0.0
    strategy = ted.Static(score, class_floor=floor)
    if floor and ted.keep_count(n, min(ted.keep_ratios(schedule, 7))) < 4:
        strategy = ted.Static(score)
    run = ted.Pruner(
        n, epochs=7, schedule=schedule, strategy=strategy, seed=seed, labels=labels
    )
    found = sorted(plans(run), key=len)
    for small, large in pairwise(found):
        assert set(small.kept.tolist()) <= set(large.kept.tolist())


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"reduction": ted.Polyak(0.5, start="debiased")},
        {"reduction": ted.Polyak(0.7, start="zero")},
        {"reduction": ted.Last()},
        {"signal": "el2n"},
        {"signal": "forgetting"},
        {"strategy": ted.UCB(alpha=0.25)},
        {"strategy": ted.InfoBatch()},
    ],
)
def test_a_finished_run_ranks_by_its_scores_and_its_median_where_none_is(options):
    run = surrogate(**options)
    ranked = ted.Static.from_state(run.state_dict()).scores
    expected = run.scores
    expected[3] = np.median(np.delete(expected, 3).astype(np.float64))
    np.testing.assert_array_equal(ranked, expected)


def test_teds_keeps_the_samples_that_the_surrogates_next_epoch_would_have_kept(
    tmp_path,
):
    run = surrogate()
    ted.save_state(tmp_path / "run.ted", run.state_dict())
    teds = ted.Static.from_state(ted.load_state(tmp_path / "run.ted"))
    assert teds == ted.Static.from_state(run.state_dict())
    schedule = ted.Constant(0.5, anneal=0)
    kept = ted.Pruner(12, epochs=5, schedule=schedule, strategy=teds).plan().kept
    assert kept.tolist() == ted.top_ids(teds.scores, 6).tolist()


def test_the_state_of_a_torch_session_serves_as_well():
    state = surrogate().state_dict()
    session = {"format": "ted_torch.TED", "version": 1, "position": 0}
    for name, value in state.items():
        array = isinstance(value, np.ndarray)
        session[f"pruner.{name}"] = torch.from_numpy(value) if array else value
    assert ted.Static.from_state(session) == ted.Static.from_state(state)


@pytest.mark.parametrize(
    ("field", "value", "message"),
    [
        ("format", "other", "`format` must be 'ted_core.Pruner', saved 'other'"),
        ("format", None, "`format` must be 'ted_core.Pruner', saved None"),
        ("version", 3, r"`version` must be in \[1, 2\], saved 3"),
        ("n", 11, "`scores.score` must be float32 of shape"),
        ("n", "12", "`n` must be int, saved '12'"),
        ("scores.update_counts", np.zeros(12), "`scores.update_counts` must be uint16"),
        ("scores.score", np.zeros(12, "<f4"), "`scores.score` must be finite where"),
    ],
)
def test_a_damaged_state_is_refused_by_name(field, value, message):
    with pytest.raises(ted.CheckpointError, match=message):
        ted.Static.from_state({**surrogate().state_dict(), field: value})


@pytest.mark.parametrize(
    "text", ["Median()", "Polyak(2.0)", "Polyak(alpha=2.0)", "[].clear()", "Last(", "0"]
)
def test_the_reduction_must_be_one_of_the_librarys(text):
    older = ted.load_state(FOLDER / "core" / "finished.npz")
    with pytest.raises(ted.CheckpointError, match="`reduction` must be"):
        ted.Static.from_state({**older, "reduction": text})
    named = {**surrogate().state_dict(), "reduction.kind": text}
    message = r"`reduction.kind` must be a reg.*, or rank by `Static\(pruner.scores\)`"
    with pytest.raises(ted.CheckpointError, match=message):
        ted.Static.from_state(named)


def test_an_open_epoch_is_refused():
    run = ted.Pruner(12, epochs=6)
    run.observe([1], [2.0])
    with pytest.raises(ted.CheckpointError, match="got 1 observations of an open one"):
        ted.Static.from_state(run.state_dict())
    with pytest.warns(ted.TedWarning, match="must have 6 epochs as planned, got 1"):
        run.finish()
    assert ted.Static.from_state(run.state_dict()).scores[1] == 2


@pytest.mark.parametrize(
    "field", ["n", "reduction.kind", "open.observed", "scores.score"]
)
def test_a_state_without_a_field_is_refused_by_name(field):
    state = surrogate().state_dict()
    del state[field]
    with pytest.raises(ted.CheckpointError, match=f"`state` must have '{field}'"):
        ted.Static.from_state(state)


def test_a_state_that_is_no_mapping_is_refused():
    with pytest.raises(TypeError, match="`state` must be a mapping, got list"):
        ted.Static.from_state([])


def test_scores_are_copied_and_read_only():
    given_scores = np.arange(4, dtype=np.float32)
    static = ted.Static(given_scores)
    given_scores[:] = 7
    assert static.scores.tolist() == [0, 1, 2, 3]
    with pytest.raises(ValueError, match="read-only"):
        static.scores[0] = 1


@pytest.mark.parametrize("dtype", [np.int8, np.uint64, np.float16, np.float64, ">f4"])
def test_scores_of_any_real_dtype_rank_alike(dtype):
    assert ted.Static(np.array([3, 1, 2], dtype)) == ted.Static([3.0, 1.0, 2.0])
    assert ted.Static(torch.tensor([3.0, 1.0, 2.0])) == ted.Static([3.0, 1.0, 2.0])


def test_equal_are_those_of_equal_scores_and_states_load_into_no_other():
    one, same = ted.Static([0.0, 1.0, 2.0]), ted.Static([-0.0, 1.0, 2.0])
    other, floored = ted.Static([1.0, 0.0, 2.0]), ted.Static(same.scores, class_floor=1)
    assert one == same
    assert hash(one) == hash(same)
    assert len({repr(one), repr(other), repr(floored)}) == 3
    assert one not in (other, floored, "Static")
    runs = [ted.Pruner(3, epochs=5, strategy=s) for s in (one, same, other)]
    runs[1].load_state_dict(runs[0].state_dict())
    with pytest.raises(ted.CheckpointError, match=r"`strategy\.checksum` must equal"):
        runs[2].load_state_dict(runs[0].state_dict())


@pytest.mark.parametrize(
    ("scores", "error", "message"),
    [
        ([], ValueError, r"`scores` must have shape \(n,\) with n at least 1, got \(0"),
        ([[1.0]], ValueError, r"`scores` must have shape .* got \(1, 1\)"),
        (1.0, ValueError, r"`scores` must have shape .* got \(\)"),
        ([1.0, np.nan], ValueError, "`scores` must not hold NaN, got NaN at 1"),
        (["a"], TypeError, "`scores` must hold real numbers, got dtype <U1"),
        ([1j], TypeError, "`scores` must hold real numbers, got dtype complex128"),
        ([True], TypeError, "`scores` must hold real numbers, got dtype bool"),
    ],
)
def test_bad_scores_are_refused_by_name(scores, error, message):
    with pytest.raises(error, match=message):
        ted.Static(scores)


def test_another_number_of_samples_is_refused_with_both():
    with pytest.raises(ValueError, match=r"`strategy` must rank 5 .* Static\(n=4,"):
        ted.Pruner(5, epochs=6, strategy=ted.Static(np.arange(4)))
