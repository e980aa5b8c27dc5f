"""Optimizer steps against loaders that are run, and runs made longer or shorter."""

from __future__ import annotations

import warnings
from contextlib import nullcontext

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import ted_core as ted


def batched(items, size):
    return [items[at : at + size] for at in range(0, len(items), size)]


def steps_run(order, batch, *, accumulation, world_size, drop_last):
    """Run the loaders of all processes; give the optimizer steps of each."""
    share = -(-order.size // world_size)
    padded = np.resize(order, share * world_size)
    steps = set()
    for rank in range(world_size):
        done = batched(padded[rank::world_size].tolist(), batch)
        if drop_last:
            done = [items for items in done if len(items) == batch]
        steps.add(len(batched(done, accumulation)))
    assert len(steps) == 1
    return steps.pop()


LOADERS = st.fixed_dictionaries(
    {
        "accumulation": st.integers(1, 4),
        "world_size": st.integers(1, 4),
        "drop_last": st.booleans(),
    }
)
ALONE = {"accumulation": 1, "world_size": 1, "drop_last": False}
SCHEDULES = st.sampled_from(
    [
        ted.RollerCoaster(0.7),
        ted.RollerCoaster(0.9, anneal=0.3),
        ted.Linear(0.5, warmup=2),
        ted.Cosine(0.8, anneal=0, horizon="pruning"),
    ]
)


def train(pruner, until, batch, loader):
    """Train up to an epoch; give the steps, the plans and the epochs without a step."""
    total, plans = 0, []
    while pruner.epoch < until and not pruner.finished:
        plan = pruner.plan()
        steps = steps_run(plan.order, batch, **loader)
        assert steps == plan.steps(batch, **loader)
        total += steps
        plans.append(plan)
        pruner.observe(plan.order, np.sin(plan.order + 1.0))
        pruner.advance()
    return total, plans


@settings(max_examples=150, deadline=None)
@given(
    n=st.integers(1, 150),
    batch=st.integers(1, 16),
    loader=LOADERS,
    schedule=SCHEDULES,
    multiple_of=st.integers(1, 8),
    epochs=st.integers(5, 9),
    stop=st.integers(1, 9),
    later=st.integers(5, 14),
    finish=st.booleans(),
)
def test_total_steps_are_those_of_the_loaders_extended_or_not(  # noqa: PLR0917
    n, batch, loader, schedule, multiple_of, epochs, stop, later, finish
):
    options = {"schedule": schedule, "multiple_of": multiple_of}
    pruner = ted.Pruner(n, epochs=epochs, **options)
    stop = min(stop, epochs)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ted.TedWarning)
        shares = -(-pruner.schedule_table()["kept"] // loader["world_size"])
        least = r"must be at most \d+ with `drop_last`, the samples of a process in"
        if loader["drop_last"] and shares.min() < batch:
            for count in (pruner.total_steps, pruner.max_total_steps):
                with pytest.raises(ValueError, match=least):
                    count(batch, **loader)
            loader = {**loader, "drop_last": False}
        announced = pruner.total_steps(batch, **loader)
        before, plans = train(pruner, stop, batch, loader)
        if not pruner.finished:
            assert pruner.total_steps(batch, **loader) == announced
        if finish:
            pruner.finish()
            assert pruner.total_steps(batch, **loader) == before
            assert pruner.schedule_table().size == stop
        other = ted.Pruner(n, epochs=later, **options)
        state = pruner.state_dict()
        if later < stop:
            with pytest.raises(ted.CheckpointError, match="`epochs` must be at least"):
                other.load_state_dict(state, allow=("epochs",))
            return
        other.load_state_dict(state, allow=("epochs",))
        assert other.finished == (later == stop)
        table = other.schedule_table()
        shares = -(-table["kept"][stop:] // loader["world_size"])
        if loader["drop_last"] and shares.min(initial=batch) < batch:
            with pytest.raises(ValueError, match=least):
                other.total_steps(batch, **loader)
            return
        announced = other.total_steps(batch, **loader)
        assert other.max_total_steps(batch, **loader) == announced
        after, more = train(other, later, batch, loader)
    assert announced == before + after
    plans += more
    assert table["kept"].tolist() == [len(plan) for plan in plans]
    assert table["keep_ratio"].tolist() == [plan.keep_ratio for plan in plans]
    assert table["loss_scale"].tolist() == [plan.loss_scale for plan in plans]
    assert other.epoch == later
    again = ted.Pruner(n, epochs=later + 1, **options)
    again.load_state_dict(other.state_dict(), allow=("epochs",))
    table = again.schedule_table()
    assert table["keep_ratio"][:-1].tolist() == [plan.keep_ratio for plan in plans]


def test_a_padded_share_is_counted_with_drop_last():
    pruner = ted.Pruner(95, epochs=8, prune_ratio=0.7, strategy=ted.Random())
    options = {"accumulation": 1, "world_size": 2, "drop_last": True}
    steps = 0
    while not pruner.finished:
        steps += steps_run(pruner.plan().order, 8, **options)
        pruner.advance()
    again = ted.Pruner(95, epochs=8, prune_ratio=0.7, strategy=ted.Random())
    assert again.total_steps(8, world_size=2, drop_last=True) == steps == 24


@pytest.mark.parametrize("stopped", [True, False])
def test_a_bound_over_unknown_counts_becomes_what_ran(stopped):
    pruner = ted.Pruner(100, epochs=6, strategy=ted.InfoBatch(), prune_ratio=0.5)
    bound = pruner.max_total_steps(8)
    assert bound == 6 * 13
    steps, _ = train(pruner, 4, 8, ALONE)
    assert pruner.max_total_steps(8) == steps + 2 * 13
    if stopped:
        with pytest.warns(ted.TedWarning, match="must have 6 epochs as planned, got 4"):
            pruner.finish()
        assert pruner.max_total_steps(8) == steps
    with pytest.raises(ValueError, match="`total_steps` needs a strategy with a known"):
        pruner.total_steps(8)


def test_a_finished_run_goes_on_only_when_that_is_allowed():
    pruner = ted.Pruner(20, epochs=5)
    train(pruner, 5, 4, ALONE)
    pruner.finish()
    state = pruner.state_dict()
    longer = ted.Pruner(20, epochs=7)
    with pytest.raises(ted.CheckpointError, match="`epochs` must equal the saved one"):
        longer.load_state_dict(state)
    longer.load_state_dict(state, allow=("epochs",))
    assert (longer.finished, longer.epoch) == (False, 5)
    early = ted.Pruner(20, epochs=5)
    train(early, 2, 4, ALONE)
    with pytest.warns(ted.TedWarning, match="got 2: 3 more, 1 of them on all data"):
        early.finish()
    same = ted.Pruner(20, epochs=5)
    same.load_state_dict(early.state_dict())
    with pytest.raises(ted.EpochError, match=r"finished at 2; .*allow=\(\"epochs\",\)"):
        same.plan()
    same.load_state_dict(early.state_dict(), allow=("epochs",))
    assert same.plan().epoch == 2


def test_an_open_epoch_is_refused_with_the_way_out():
    pruner = ted.Pruner(20, epochs=5)
    pruner.observe(range(20), np.ones(20))
    state = pruner.state_dict()
    longer = ted.Pruner(20, epochs=7)
    way_out = "load it into a run of 5, close the epoch, save it again"
    with pytest.raises(
        ted.CheckpointError, match=f"between two epochs only.*{way_out}"
    ):
        longer.load_state_dict(state, allow=("epochs",))
    same = ted.Pruner(20, epochs=5)
    same.load_state_dict(state)
    same.advance()
    longer.load_state_dict(same.state_dict(), allow=("epochs",))
    assert longer.epoch == 1


@pytest.mark.parametrize(
    ("n", "batch", "options", "epochs"),
    [
        (50_000, 128, {"epochs": 200}, r"1 of 200 epochs \(\d+\)"),
        (41, 8, {"epochs": 5, "schedule": ted.Constant(0.4)}, r"4 of 5 epochs \(0, 1,"),
        (41, 8, {"epochs": 5, "schedule": ted.Constant(0.0)}, None),
        (41, 1, {"epochs": 5, "schedule": ted.Constant(0.4)}, None),
        (41, 8, {"epochs": 5, "schedule": ted.Constant(0.4), "multiple_of": 8}, None),
    ],
)
def test_a_last_batch_of_one_sample_is_told_once(n, batch, options, epochs):
    pruner = ted.Pruner(n, **options)
    expected = f"`batch_size` of {batch} leaves a last batch of one sample in {epochs}"
    told = pytest.warns(ted.TedWarning, match=f"{expected}.*multiple_of={batch}`")
    with told if epochs else nullcontext():
        pruner.total_steps(batch)
    pruner.total_steps(batch)
    pruner.total_steps(batch, drop_last=True)


def test_processes_count_in_the_remainder_of_one():
    pruner = ted.Pruner(100, epochs=5, schedule=ted.Constant(0.66))
    with pytest.warns(ted.TedWarning, match="of 16 leaves .*`multiple_of=32`"):
        pruner.total_steps(16, world_size=2)


def test_more_processes_than_an_array_can_count_take_a_step_an_epoch():
    with pytest.warns(ted.TedWarning, match="last batch of one sample"):
        assert ted.Pruner(9, epochs=5).total_steps(4, world_size=2**64) == 5
