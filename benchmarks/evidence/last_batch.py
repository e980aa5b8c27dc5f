"""Record what a last batch of a few samples does, beside batches of equal size.

python benchmarks/evidence/last_batch.py --data-dir DATA
"""

from __future__ import annotations

import argparse
import json
import warnings
from dataclasses import replace
from itertools import product
from pathlib import Path

import torch
from trials.settings import SETTINGS
from trials.training import train

import ted_core
from ted_core import Constant, Random

RECORDS = Path(__file__).parent / "records"
IN_TURN = "all data in turn, constant half"
HALF = Constant(0.5, anneal=0)
ARMS = {
    "full": {"prune_ratio": 0.0, "method": "random"},
    "random": {"prune_ratio": 0.7, "method": "random"},
    "soft_margin": {"prune_ratio": 0.7, "method": "soft_margin"},
    "random, constant half": {"schedule": HALF, "method": "random"},
    IN_TURN: {"schedule": HALF, "strategy": Random(balanced=True)},
}
CASES = [
    ("scarce", 0.5, "full", 0.1),
    ("scarce", 0.5, "random, constant half", 0.05),
    ("scarce", 0.5, IN_TURN, 0.05),
    ("scarce", 0.5, "random", 0.05),
    ("scarce", 0.5, "soft_margin", 0.05),
    ("short", 0.5, "full", 0.4),
    ("short", 0.5, "random, constant half", 0.2),
    ("short", 0.5, IN_TURN, 0.2),
    ("short", 0.5, "random", 0.4),
    ("short", 0.5, "soft_margin", 0.4),
    ("plenty", 0.5, "full", 0.8),
    ("plenty", 0.5, "random, constant half", 0.4),
    ("plenty", 0.5, "random", 0.2),
    ("plenty", 0.5, "soft_margin", 0.2),
    ("plenty", 0.5, "random", 0.05),
    ("plenty", 0.5, "soft_margin", 0.1),
    ("plenty", 1.0, "random", 0.1),
    ("plenty", 1.0, "soft_margin", 0.05),
    ("patches", 0.5, "full", 0.4),
]
"""Setting, share of the full run's samples, arm and rate."""
SEEDS = (200, 201)  # which judge nothing


def planned(name, arm, budget):
    """Return an arm's epochs in the record of the setting."""
    arm = "random, constant half" if arm == IN_TURN else arm
    record = json.loads((RECORDS / f"{name}.json").read_text(encoding="utf-8"))
    runs = record["runs"]
    return next(r["epochs"] for r in runs if (r["arm"], r["budget"]) == (arm, budget))


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data-dir", type=Path, required=True)
    parser.add_argument("--out", type=Path, default=RECORDS / "last_batch.json")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    warnings.simplefilter("ignore", ted_core.TedWarning)
    data, runs = {}, []
    for name, budget, arm, rate in CASES:
        if name not in data:
            data = {name: SETTINGS[name].load(arguments.data_dir)}
        case = {"setting": name, "arm": arm, "budget": budget, "rate": rate}
        options = {"epochs": planned(name, arm, budget), "lr": rate, **ARMS[arm]}
        for even, seed in product((True, False), SEEDS):
            setting = replace(SETTINGS[name], even=even)
            accuracy, _ = train(setting, data[name], seed=seed, **options)
            runs.append(case | {"even": even, "seed": seed, "accuracy": accuracy})
            print(runs[-1], flush=True)
    arguments.out.write_text(json.dumps(runs, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
