"""Runs of Hugging Face's trainer, started by torchrun: one of several ranks."""

from __future__ import annotations

import argparse
import json
from pathlib import Path

import torch
from trainer_runs import Texts, language, trainer

from ted_core import CheckpointError

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


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("folder", type=Path)
    folder = parser.parse_args().folder
    torch.set_num_threads(1)
    first = run(folder / "whole")
    record = {"whole": facts(first)}
    # The first epoch ends after 5 steps, pruned ones after 3 at the most.
    for step in (3, 5, 6):
        saved = folder / "whole" / f"checkpoint-{step}"
        record[f"from {step}"] = facts(run(folder / f"from {step}", saved))
    rank = first.args.process_index
    if rank == 0:
        (saved / "ted_0.pt").rename(saved / "ted.pt")
        (saved / "ted_1.pt").unlink()
    first.accelerator.wait_for_everyone()
    try:
        run(folder / "other", saved)
    except CheckpointError as error:
        record["another world"] = str(error)
    (folder / f"{rank}.json").write_text(json.dumps(record))
    first.accelerator.end_training()


if __name__ == "__main__":
    main()
