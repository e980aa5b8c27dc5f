"""Random selection that takes the least planned samples first."""

from __future__ import annotations

import warnings

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from oracles import rivals as oracle

import ted_core as ted
from ted_core.testing import LoopAdapter, check_resume, schedules, trains_or_refuses

few = settings(max_examples=60, deadline=None)
HALF = ted.Constant(0.5, anneal=0)


def balanced(n=10, epochs=8, schedule=HALF, **options):
    return ted.Pruner(
        n,
        epochs=epochs,
        schedule=schedule,
        strategy=ted.Random(balanced=True),
        **options,
    )


def train(pruner, deliver=lambda order: order):
    """Train to the end without a value, and give each epoch's kept ids."""
    kept = []
    while not pruner.finished:
        plan = pruner.plan()
        kept.append(plan.kept.tolist())
        came = deliver(plan.order)
        pruner.observe(came, np.ones(came.size), valid=np.zeros(came.size, bool))
        pruner.advance()
    return kept


@few
@given(st.integers(1, 40), schedules(), st.integers(0, 2**64 - 1), st.integers(1, 5))
def test_an_epoch_takes_the_least_planned_of_its_oracle(n, schedule, seed, multiple):
    pruner = balanced(n, schedule=schedule, seed=seed, multiple_of=multiple)
    counts = pruner.schedule_table()["kept"].tolist()
    planned = [0] * n
    for epoch, kept in enumerate(train(pruner)):
        k = counts[epoch]
        assert kept == oracle.least_planned(planned, k, seed=seed, epoch=epoch)
        for z in kept:
            planned[z] += 1
        assert max(planned) - min(planned) <= 1


@few
@given(st.integers(2, 40), schedules(), st.integers(0, 2**32))
def test_what_came_of_the_samples_changes_no_plan(n, schedule, seed):
    # A share of them never comes, or never has a value.
    numbers = np.random.default_rng(seed)
    expected = train(balanced(n, schedule=schedule, seed=seed))
    other = balanced(n, schedule=schedule, seed=seed)
    never = numbers.random(n) < 0.4
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ted.TedWarning)
        assert train(other, lambda order: order[~never[order]]) == expected
    silent = balanced(n, schedule=schedule, seed=seed)
    for kept in expected:
        assert silent.plan().kept.tolist() == kept
        silent.advance()


def test_each_pass_over_the_data_is_drawn_anew():
    kept = train(balanced(100))
    for first, second in zip(kept[::2], kept[1::2], strict=True):
        assert sorted(first + second) == list(range(100))
    assert len(set(map(tuple, kept))) == 8


def test_without_balance_some_samples_come_more_often_than_others():
    def spread(strategy):
        pruner = ted.Pruner(100, epochs=8, schedule=HALF, strategy=strategy)
        times = np.bincount(np.concatenate(train(pruner)), minlength=100)
        return times.max() - times.min()

    assert spread(ted.Random(balanced=True)) == 0
    assert spread(ted.Random()) > 2


def test_a_run_saved_and_loaded_in_any_step_goes_on_bit_for_bit():
    options = {"strategy": ted.Random(balanced=True), "schedule": ted.Constant(0.6)}
    check_resume(LoopAdapter, [options])
    assert trains_or_refuses(LoopAdapter, options)


def test_a_longer_run_goes_on_with_the_samples_that_came_least():
    short = balanced(9, epochs=5)
    train(short)
    longer = balanced(9, epochs=8)
    longer.load_state_dict(short.state_dict(), allow=("epochs",))
    assert longer.epoch == 5
    planned = short.state_dict()["scores.planned_counts"]
    kept = longer.plan().kept
    assert planned[kept].max() <= np.delete(planned, kept).min()


def test_a_state_says_whether_it_counts_plans():
    run, plain = balanced(), ted.Pruner(10, epochs=8, schedule=HALF, method="random")
    run.advance()
    state = run.state_dict()
    assert state["scores.planned_counts"].dtype == np.dtype("<u2")
    assert "scores.planned_counts" not in plain.state_dict()
    for one, other in ((run, plain), (plain, run)):
        with pytest.raises(
            ted.CheckpointError, match=r"`strategy.balanced` must equal"
        ):
            one.load_state_dict(other.state_dict())
    with pytest.raises(ted.CheckpointError, match=r"`scores.planned_counts` must be"):
        run.load_state_dict(state | {"scores.planned_counts": np.zeros(10)})


def test_a_count_that_is_full_stays_so():
    full = np.full(10, 65535, "<u2")
    run = balanced()
    run.load_state_dict(run.state_dict() | {"scores.planned_counts": full})
    run.advance()
    assert run.state_dict()["scores.planned_counts"].tolist() == full.tolist()


def test_a_strategy_of_ones_own_may_ask_for_the_counts():
    class Often(ted.Random):
        """Keep the samples planned most often."""

        needs_planned_counts = True

        def select(self, request):
            assert not request.planned_counts.flags.writeable
            return ted.Selection(request.top(request.planned_counts.astype("f4")))

    kept = train(ted.Pruner(10, epochs=8, schedule=HALF, strategy=Often()))
    assert kept[0] == kept[5]


def test_another_value_than_true_or_false_is_refused():
    with pytest.raises(TypeError, match="`balanced` must be True or False, got 1"):
        ted.Random(balanced=1)
