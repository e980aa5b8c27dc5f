"""The exact types of the integrations: read by the type checkers, never run."""

from __future__ import annotations

from typing import Any, assert_type

import ted_torch
from accelerate import Accelerator
from ted_torch.integrations.accelerate import AcceleratedTED
from ted_torch.integrations.transformers import (
    TEDTrainer,
    TEDTrainerMixin,
    TrainerOptions,
)
from torch import Tensor
from torch.utils.data import Dataset

import ted_core


def a_trainer_takes_the_options_of_a_run(data: Dataset[Any]) -> None:
    options: TrainerOptions = {"prune_ratio": 0.5, "signal": "loss", "buffer": "cpu"}
    trainer = TEDTrainer(train_dataset=data, ted=options)
    assert_type(trainer.ted, ted_torch.TED[Any])
    assert_type(trainer.ted.savings(), ted_core.Savings)
    assert_type(trainer.ted.report(), ted_core.Report)
    trainer.save_session("folder")


def a_mixin_takes_its_own_losses(outputs: Any, labels: Tensor) -> None:
    class Mine(TEDTrainerMixin):
        pass

    trainer = Mine(ted={"strategy": ted_core.Random()})
    given = trainer.sample_losses(outputs, {"labels": labels}, [])
    assert_type(given, dict[str, Any])


def a_session_knows_the_accelerator(
    accelerator: Accelerator, data: Dataset[Any], z: Tensor, ids: Tensor
) -> None:
    ted = AcceleratedTED(
        accelerator, data, epochs=10, batch_size=8, prune_ratio=0.5, buffer="cpu"
    )
    assert_type(ted.scheduler_steps(), int)
    assert_type(ted.scheduler_steps(drop_last=True), int)
    assert_type(ted.loss(z, mask=z, ids=ids), Tensor)
    assert_type(ted.report(), ted_core.Report)
    ted.load_state_dict(assert_type(ted.state_dict(), dict[str, Any]))
