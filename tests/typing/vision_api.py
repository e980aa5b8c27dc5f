"""The exact types of the integrations for vision; never run."""

from __future__ import annotations

from functools import partial
from typing import Any, assert_type

import ted_torch
from ted_torch.integrations.timm import TimmLoader
from ted_torch.integrations.ultralytics import (
    TEDClassificationTrainer,
    TEDDetectionTrainer,
    TrainerOptions,
)
from torch.utils.data import DataLoader

import ted_core


def trainers_take_the_options_of_a_run() -> None:
    options: TrainerOptions = {"prune_ratio": 0.5, "method": "ted_loss"}
    partial(TEDDetectionTrainer, ted=options)
    trainer = TEDClassificationTrainer(overrides={}, ted={"buffer": "cpu"})
    assert_type(trainer.ted, ted_torch.TED[Any])
    assert_type(trainer.ted.savings(), ted_core.Savings)


def a_loader_of_timm_gives_ids(ted: ted_torch.TED[Any], loader: Any) -> None:
    with_ids = TimmLoader(ted, loader)
    assert_type(with_ids.loader, DataLoader[Any])
    assert_type(len(with_ids), int)
    with_ids.mixup_enabled = assert_type(with_ids.mixup_enabled, bool)
    for ids, (pictures, targets) in with_ids:
        del ids, pictures, targets
