"""Runs of TRL's trainers on one of several processes."""

from __future__ import annotations

import json

import torch
from rank_run import join
from trainer_rank_run import facts
from trl_runs import PACKED, run_of

__all__ = ["BATCH", "CASES", "main"]

BATCH = 2
# Epochs end after 6, 10, 13 and 19 steps.
SAVED = {"save_strategy": "steps", "save_steps": 8}
CASES = {
    "sft": ("sft", SAVED),
    "packed": ("sft", PACKED),
    "dpo": ("dpo", SAVED),
    "reward": ("reward", {}),
    "kto": ("kto", {}),
}


def main(rank, ranks, folder):
    """Run all on one process of a group, and write what it saw."""
    torch.set_num_threads(1)
    join(rank, ranks, folder)
    record = {}
    size = {"per_device_train_batch_size": BATCH}
    for name, (host, options) in CASES.items():
        first = run_of(host, folder / name, **size, **options)
        first.train()
        record[name] = facts(first)
        if "save_steps" in options:
            again = run_of(host, folder / f"{name} again", **size, **options)
            again.train(resume_from_checkpoint=str(folder / name / "checkpoint-8"))
            record[f"{name} from 8"] = facts(again)
    (folder / f"{rank}.json").write_text(json.dumps(record))
    first.accelerator.end_training()
