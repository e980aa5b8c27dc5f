"""Runs of Hugging Face's trainer on one of several processes."""

from __future__ import annotations

import json

import torch
from rank_run import join
from ted_torch._state import own_state
from trainer_runs import PAPER, N, Texts, language, trainer

BY_LENGTH, LENGTHS = "group_by_length", [1 + k * 5 % 11 for k in range(N)]
OPTIONS = {"gradient_accumulation_steps": 2, "save_strategy": "steps", "save_steps": 1}


def run(folder, checkpoint=None, **options):
    made = trainer(folder, language(), Texts(), **OPTIONS, **options)
    made.train(resume_from_checkpoint=checkpoint and str(checkpoint))
    return made


def facts(run):
    return {
        "seen": list(run.seen.items()),
        "steps": run.state.global_step,
        "max_steps": run.state.max_steps,
        "rate": run.lr_scheduler.get_last_lr(),
        "kept": run.ted.pruner.schedule_table()["kept"].tolist(),
        "scores": run.ted.pruner.scores.tolist(),
        "visits": run.ted.pruner.update_counts.tolist(),
        "forwarded": run.ted.savings().forwarded,
        "weights": [part.flatten().tolist() for part in run.model.parameters()],
    }


def split(folder, rank, ranks):
    """Part a checkpoint's file in one a process, as older versions wrote it."""
    file = torch.load(folder / "ted.pt", weights_only=True)
    own = {"facts": file["facts"], "session": own_state(file["session"], ranks)}
    torch.save(own, folder / f"ted_{rank}.pt")


def main(rank, size, folder):
    """Run all on one process of a group, and write what it saw."""
    torch.set_num_threads(1)
    join(rank, size, folder)
    first = run(folder / "whole")
    within = folder / "whole" / "checkpoint-4"
    record = {"whole": facts(first), "checkpoint": str(within)}
    # Epochs end after 3, 5, 7, 9 and 12 steps.
    for step in (3, 5, 6):
        saved = folder / "whole" / f"checkpoint-{step}"
        record[f"from {step}"] = facts(run(folder / f"from {step}", saved))
    lengths = {"ted": PAPER | {"lengths": LENGTHS}}
    grouped = run(folder / "grouped", **lengths, train_sampling_strategy=BY_LENGTH)
    record["grouped"] = facts(grouped)
    midway = folder / "grouped" / "checkpoint-4"
    again = run(folder / "again", midway, **lengths, train_sampling_strategy=BY_LENGTH)
    record["grouped from 4"] = facts(again)
    split(saved, rank, first.ted.ranks)
    first.accelerator.wait_for_everyone()
    if rank == 0:
        (saved / "ted.pt").unlink()
    first.accelerator.wait_for_everyone()
    record["from older files"] = facts(run(folder / "older", saved))
    (folder / f"{rank}.json").write_text(json.dumps(record))
    first.accelerator.end_training()
