from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

import ted_core as ted
from ted_core.selection._randomness import tie_hash

HALF = ted.Constant(0.5, anneal=0)


def assert_same_state(one, other):
    for name, value in one.state_dict().items():
        np.testing.assert_array_equal(other.state_dict()[name], value, err_msg=name)


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
def test_an_epoch_of_values_that_are_not_finite_raises_and_leaves_the_state(value):
    pruner, other = (ted.Pruner(4, epochs=5) for _ in range(2))
    for run in (pruner, other):
        run.observe([0, 1, 2, 3], [1.0, 2.0, 3.0, 4.0])
        run.advance()
        run.observe([0, 1], [value, value])
    plan = pruner.plan()
    with pytest.raises(ted.EpochError, match="must have a finite value"):
        pruner.advance()
    assert pruner.plan() is plan
    assert_same_state(pruner, other)
    pruner.observe([2], [5.0])
    pruner.advance()
    assert pruner.epoch == 2


def test_the_first_epoch_of_a_warm_start_keeps_the_highest_initial_scores():
    given_scores = [0.5, 3.0, 1.0, 2.0]
    pruner = ted.Pruner(4, epochs=5, schedule=HALF, initial_scores=given_scores)
    assert pruner.scores.tolist() == given_scores
    assert pruner.update_counts.tolist() == [1, 1, 1, 1]
    assert pruner.plan().kept.tolist() == [1, 3]


def test_equation_19_applies_from_a_warm_start_on():
    pruner = ted.Pruner(
        2, epochs=5, initial_scores=[1.0, 4.0], reduction=ted.Polyak(0.5)
    )
    pruner.observe([0, 1], [3.0, 0.0])
    pruner.advance()
    assert pruner.scores.tolist() == [2.0, 2.0]


def test_a_warm_start_takes_no_hold_of_the_array_that_was_given():
    scores = np.array([1.0, 2.0], np.float32)
    pruner = ted.Pruner(2, epochs=5, initial_scores=scores)
    scores[:] = 0
    assert pruner.scores.tolist() == [1.0, 2.0]
    pruner.observe([0], [9.0])
    pruner.advance()
    assert scores.tolist() == [0.0, 0.0]


@given(
    arrays(np.float32, 6, elements=st.floats(-100, 100, width=32)),
    arrays(np.uint8, 6, elements=st.integers(0, 3)),
)
def test_a_device_buffer_equals_the_observations_that_made_it(values, counts):
    counts[0] = 1
    steps, buffer = (ted.Pruner(6, epochs=5) for _ in range(2))
    sums = np.zeros(6, np.float32)
    for k in range(6):
        for _ in range(counts[k]):
            steps.observe([k], [values[k]])
            sums[k] += values[k]
    buffer.observe_sums(sums, counts)
    for pruner in (steps, buffer):
        pruner.advance()
    assert_same_state(steps, buffer)


def test_observations_in_one_call_or_in_many_are_the_same():
    rng = np.random.default_rng(0)
    ids = rng.integers(0, 30, 200)
    values = rng.normal(size=200).astype(np.float32)
    one, many = (ted.Pruner(30, epochs=5) for _ in range(2))
    one.observe(ids, values)
    for part in np.array_split(np.arange(200), 13):
        many.observe(ids[part], values[part])
    for pruner in (one, many):
        pruner.advance()
    assert_same_state(one, many)


def test_a_pruned_sample_keeps_its_score_and_its_visits():
    pruner = ted.Pruner(4, epochs=5, schedule=HALF, initial_scores=[0.1, 5, 0.2, 4])
    pruner.observe(pruner.plan().order, [1.0, 1.0])
    pruner.advance()
    np.testing.assert_array_equal(pruner.scores[[0, 2]], np.float32([0.1, 0.2]))
    assert pruner.update_counts.tolist() == [1, 2, 1, 2]


def test_samples_never_presented_are_kept_before_every_other():
    pruner = ted.Pruner(6, epochs=5, schedule=HALF)
    first = pruner.plan().kept
    pruner.observe(first, [1e30, 1e30, 1e30])
    pruner.advance()
    rest = sorted(set(range(6)) - set(first.tolist()))
    assert pruner.plan().kept.tolist() == rest


def test_a_sample_presented_without_a_valid_value_ranks_at_the_median():
    pruner = ted.Pruner(5, epochs=5, schedule=ted.Constant(0.4, anneal=0))
    pruner.observe([0, 1, 2, 3, 4], [1.0, 2.0, 30.0, 4.0, math.nan])
    pruner.advance()
    assert math.isnan(pruner.scores[4])
    assert pruner.plan().kept.tolist() == [2, 3, 4]


@settings(max_examples=25, deadline=None)
@given(st.integers(0, 2**64 - 1), st.integers(2, 40))
def test_equal_scores_are_pruned_by_the_hash_of_seed_epoch_and_id(seed, n):
    pruner = ted.Pruner(n, epochs=5, schedule=HALF, seed=seed)
    while not pruner.finished:
        hashes = tie_hash(np.arange(n), seed=seed, epoch=pruner.epoch)
        expected = np.sort(np.argsort(hashes)[n - ted.keep_count(n, 0.5) :])
        assert pruner.plan().kept.tolist() == expected.tolist()
        pruner.observe(np.arange(n), np.ones(n))
        pruner.advance()


def test_what_the_pruner_shows_is_a_copy():
    pruner = ted.Pruner(3, epochs=5, initial_scores=[1.0, 2.0, 3.0])
    pruner.scores[:] = 0
    pruner.update_counts[:] = 9
    assert pruner.scores.tolist() == [1.0, 2.0, 3.0]
    assert pruner.update_counts.tolist() == [1, 1, 1]


def test_finishing_before_anything_was_observed_closes_no_epoch():
    pruner = ted.Pruner(3, epochs=5)
    with pytest.warns(ted.TedWarning, match="must have 5 epochs as planned, got 0"):
        pruner.finish()
    assert (pruner.finished, pruner.epoch) == (True, 0)
    assert pruner.report().planned.size == 0


def test_a_run_that_ended_by_itself_may_still_be_finished():
    pruner = ted.Pruner(3, epochs=5)
    while not pruner.finished:
        pruner.observe([0, 1, 2], [1.0, 2.0, 3.0])
        pruner.advance()
    before = pruner.state_dict()
    pruner.finish()
    for name, value in before.items():
        np.testing.assert_array_equal(pruner.state_dict()[name], value)
