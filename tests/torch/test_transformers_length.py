"""Runs of a number of steps, of part of an epoch, and of one epoch alone."""

from __future__ import annotations

import math

import numpy as np
import pytest
from trainer_runs import PAPER, flat, trainer

from ted_core import Constant

BATCH, FULL = 4, 10  # samples of a step, steps of an epoch of all 37
HALF = {"schedule": Constant(0.5, anneal=0)}


def halved(**options):
    own = {name: value for name, value in PAPER.items() if name != "prune_ratio"}
    return own | HALF | options


def steps_of(run):
    return [len(run.seen[epoch]) for epoch in sorted(run.seen)]


@pytest.mark.parametrize("steps", [21, 40])
def test_a_run_of_so_many_steps_is_planned_over_the_fewest_epochs(steps, tmp_path):
    run = trainer(tmp_path, max_steps=steps)
    run.train()
    assert sum(steps_of(run)) == run.state.global_step == run.state.max_steps == steps
    assert run.lr_scheduler.get_last_lr() == [0.0, 0.0]
    epochs, kept = run.ted.pruner.epochs, run.ted.pruner.schedule_table()["kept"]
    assert sorted(run.seen) == list(range(epochs))
    assert steps_of(run)[:-1] == [math.ceil(k / BATCH) for k in kept[:-1]]
    assert steps <= run.ted.total_steps(BATCH) < steps + FULL
    fewer = trainer(tmp_path, num_train_epochs=epochs - 1).ted
    assert fewer.total_steps(BATCH) < steps
    # An epoch cut short counts as far as it went.
    seen = sum(len(flat(batches)) for batches in run.seen.values())
    assert run.ted.savings().forwarded == seen
    assert run.ted.pruner.finished


@pytest.mark.parametrize("asked", [2.5, 4.1])
def test_part_of_an_epoch_is_part_of_the_last_ones_steps(asked, tmp_path):
    run = trainer(tmp_path, num_train_epochs=asked)
    run.train()
    planned = trainer(tmp_path, num_train_epochs=math.ceil(asked)).ted
    kept = planned.pruner.schedule_table()["kept"].tolist()
    want = [math.ceil(k / BATCH) for k in kept]
    want[-1] = math.ceil((asked - int(asked)) * want[-1])
    assert steps_of(run) == want
    assert run.state.global_step == run.state.max_steps == sum(want)
    assert run.lr_scheduler.get_last_lr() == [0.0, 0.0]


@pytest.mark.parametrize("step", [12, 27, 29])
def test_a_run_of_so_many_steps_resumes_bit_for_bit(step, tmp_path):
    saving = {"max_steps": 29, "save_strategy": "steps", "save_steps": 1}
    whole = trainer(tmp_path / "whole", **saving)
    whole.train()
    again = trainer(tmp_path / "again", **saving)
    again.train(resume_from_checkpoint=str(tmp_path / f"whole/checkpoint-{step}"))
    assert again.state.global_step == 29
    theirs = whole.model.state_dict()
    for name, weight in again.model.state_dict().items():
        assert weight.equal(theirs[name])
    np.testing.assert_array_equal(again.ted.pruner.scores, whole.ted.pruner.scores)
    assert again.ted.savings() == whole.ted.savings()


def test_steps_that_change_after_the_trainer_is_made_are_refused(tmp_path):
    run = trainer(tmp_path, max_steps=29)
    run.args.max_steps = 30
    with pytest.raises(ValueError, match="`max_steps` must stay 29, got 30"):
        run.train()


@pytest.fixture(scope="module")
def earlier(tmp_path_factory):
    folder = tmp_path_factory.mktemp("earlier")
    run = trainer(folder, save_strategy="epoch")
    run.train()
    return run


@pytest.mark.parametrize("form", ["checkpoint", "array"])
@pytest.mark.parametrize("length", [{"num_train_epochs": 1}, {"max_steps": 4}])
def test_one_epoch_prunes_by_the_checkpoint_of_an_earlier_run(
    form, length, earlier, tmp_path
):
    folder = f"{earlier.args.output_dir}/checkpoint-{earlier.state.global_step}"
    scores = earlier.ted.pruner.scores
    given = folder if form == "checkpoint" else scores
    run = trainer(tmp_path, ted=halved(initial_scores=given), **length)
    run.train()
    highest = set(np.argsort(scores)[-20:].tolist())
    assert set(flat(run.seen[0])) <= highest
    assert run.state.global_step == length.get("max_steps", 5)
    assert run.ted.pruner.finished
