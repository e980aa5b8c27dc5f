from __future__ import annotations

import shutil
import signal
import time
from pathlib import Path

import numpy as np
import pytest
import torch
from trainer_runs import (
    EPOCHS,
    PAPER,
    N,
    Rows,
    Texts,
    classifier,
    flat,
    language,
    trainer,
)
from transformers import TrainerCallback
from transformers.trainer_jit_checkpoint import CheckpointManager

from ted_core import CheckpointError, InfoBatch, TedWarning

STEPS = {"save_strategy": "steps", "save_steps": 1}


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    """Give runs never stopped, with a checkpoint after each step."""
    made = {}

    def run(make=classifier, data=Rows, **options):
        key = repr((make, data, options))
        if key not in made:
            folder = tmp_path_factory.mktemp("whole")
            made[key] = trainer(folder, make(), data(), **STEPS, **options)
            made[key].train()
        return made[key]

    return run


def resumed(first, step, folder, make=classifier, data=Rows, **options):
    again = trainer(folder, make(), data(), **STEPS, **options)
    saved = f"{first.args.output_dir}/checkpoint-{step}"
    again.train(resume_from_checkpoint=saved)
    return again


def same(first, again):
    assert again.state.global_step == first.state.global_step
    np.testing.assert_array_equal(again.ted.pruner.scores, first.ted.pruner.scores)
    np.testing.assert_array_equal(
        again.ted.pruner.update_counts, first.ted.pruner.update_counts
    )
    assert again.ted.savings() == first.ted.savings()
    theirs = first.model.state_dict()
    for name, mine in again.model.state_dict().items():
        assert torch.equal(mine, theirs[name])
    assert again.lr_scheduler.state_dict() == first.lr_scheduler.state_dict()


# Epochs end after steps 10, 15, 20, 25 and 35; dropout draws in each of them.
@pytest.mark.parametrize("step", [3, 9, 10, 12, 20, 27, 34, 35])
def test_a_resumed_run_is_the_run_never_stopped(step, whole, tmp_path):
    first = whole()
    again = resumed(first, step, tmp_path)
    same(first, again)
    visited = {epoch: flat(ids) for epoch, ids in first.seen.items()}
    for epoch, ids in again.seen.items():
        went = flat(ids)
        assert visited[epoch][-len(went) :] == went


# Epochs end after steps 4, 6, 8, 10 and 14, and the first of them in a remainder.
@pytest.mark.parametrize("step", [2, 4, 5, 11])
def test_accumulated_batches_are_passed_over(step, whole, tmp_path):
    options = {"gradient_accumulation_steps": 3, "make": language, "data": Texts}
    first = whole(**options)
    same(first, resumed(first, step, tmp_path, **options))


def test_a_strategy_that_finds_its_own_count_resumes(whole, tmp_path):
    options = {"ted": {"strategy": InfoBatch(), "signal": "loss"}}
    first = whole(**options)
    same(first, resumed(first, first.state.global_step - 12, tmp_path, **options))


def test_the_last_checkpoint_is_found(tmp_path):
    first = trainer(tmp_path, save_strategy="epoch")
    first.train()
    for step in (25, 35):
        shutil.rmtree(tmp_path / f"checkpoint-{step}")
    again = trainer(tmp_path, save_strategy="epoch")
    again.train(resume_from_checkpoint=True)
    assert sorted(again.seen) == [3, 4]
    same(first, again)


def test_states_of_the_trainer_hold_tensors_and_plain_values(whole):
    saved = Path(whole().args.output_dir) / "checkpoint-12" / "ted.pt"
    state = torch.load(saved, weights_only=True)
    assert state["facts"]["updates"] == 2
    assert not list(saved.parent.glob("*.tmp"))


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ({"gradient_accumulation_steps": 2}, "`accumulation` must be the saved one"),
        ({"per_device_train_batch_size": 2}, "`batch_size` must be the saved one"),
        ({"num_train_epochs": EPOCHS + 1}, "`epochs`"),
        ({"seed": 5}, "`seed`"),
        ({"data": lambda: Rows(N - 1)}, "`n` must be the saved one, saved 37, here 36"),
    ],
)
def test_a_checkpoint_of_another_run_is_refused(options, says, whole, tmp_path):
    with pytest.raises(CheckpointError, match=says) as caught:
        resumed(whole(), 12, tmp_path, **options)
    notes = getattr(caught.value, "__notes__", [])
    assert ("as ted={'allow': ('epochs',)" in "".join(notes)) == (says == "`epochs`")


def test_a_checkpoint_without_a_state_or_of_another_world_is_refused(whole, tmp_path):
    there = tmp_path / "checkpoint-12"
    shutil.copytree(Path(whole().args.output_dir) / "checkpoint-12", there)
    (there / "ted.pt").rename(there / "ted_0.pt")
    says = r"must hold 'ted\.pt' for a world size of 1, got \['ted_0\.pt'\]"
    with pytest.raises(CheckpointError, match=says):
        trainer(tmp_path).train(resume_from_checkpoint=str(there))
    (there / "ted.pt").write_bytes(b"damaged")
    with pytest.raises(CheckpointError, match=r"'ted\.pt' must be a whole state"):
        trainer(tmp_path).train(resume_from_checkpoint=str(there))


def test_a_trainer_that_saves_models_only_saves_no_session(tmp_path):
    run = trainer(tmp_path, save_strategy="epoch", save_only_model=True)
    run.train()
    assert not list(tmp_path.glob("*/ted*.pt"))


@pytest.mark.parametrize("step", [20, 35])
def test_a_run_is_extended_where_it_is_allowed(step, whole, tmp_path):
    longer = {"num_train_epochs": EPOCHS + 3, **STEPS}
    saved = f"{whole().args.output_dir}/checkpoint-{step}"
    with pytest.raises(
        CheckpointError, match=r"`epochs` must .* saved 5, here 8; .*allow"
    ):
        trainer(tmp_path, **longer).train(resume_from_checkpoint=saved)
    run = trainer(tmp_path, ted=PAPER | {"allow": ("epochs",)}, **longer)
    run.train(resume_from_checkpoint=saved)
    assert run.state.global_step == run.state.max_steps == run.ted.total_steps(4)
    assert set(run.lr_scheduler.get_last_lr()) == {0.0}
    assert sorted(run.seen) == list(range({20: 3, 35: 5}[step], EPOCHS + 3))
    assert run.ted.savings().full == (EPOCHS + 3) * N


class Terminate(TrainerCallback):
    """Send a signal as a scheduler of jobs does, and wait until it is heard."""

    def __init__(self, step):
        self.step = step

    def on_step_begin(self, _args, state, _control, **_):
        if state.global_step == self.step:
            signal.raise_signal(signal.SIGTERM)
            time.sleep(0.5)


@pytest.mark.filterwarnings("ignore:epoch 1 must deliver its 20 planned samples")
@pytest.mark.parametrize("step", [12])
def test_a_checkpoint_at_a_signal_holds_the_session(step, whole, tmp_path, monkeypatch):
    monkeypatch.setattr(CheckpointManager.__init__, "__defaults__", (0.1,))
    # The callback that saves hears of the step before the one that sends.
    run = trainer(
        tmp_path, enable_jit_checkpoint=True, callbacks=[Terminate(step)], **STEPS
    )
    run.args.save_steps = 1000
    with pytest.warns(TedWarning, match="must have 5 epochs as planned, got"):
        run.train()
    (folder,) = tmp_path.glob("checkpoint-*")
    assert (folder / "ted.pt").is_file()
    again = trainer(tmp_path, **STEPS)
    again.train(resume_from_checkpoint=str(folder))
    same_ids(whole(), again)


def same_ids(first, again):
    """Hold the ids of the epochs that both trained against each other."""
    for epoch, batches in again.seen.items():
        went = flat(batches)
        assert flat(first.seen[epoch])[-len(went) :] == went


def test_a_run_that_stops_early_warns_with_its_epochs(tmp_path):
    class Stop(TrainerCallback):
        def on_epoch_end(self, _args, state, control, **_):
            control.should_training_stop = state.epoch >= 3

    run = trainer(tmp_path, callbacks=[Stop()])
    says = "must have 5 epochs as planned, got 3: 2 more, 1 of them on all data, did"
    with pytest.warns(TedWarning, match=says):
        run.train()
