"""Record how far the loss falls in the first epochs on the hardest samples alone.

python benchmarks/evidence/early.py plenty --data-dir DATA

It trains ``ted_loss`` on the seeds that judge and at the rate that the record of the
setting chose, up to the epoch after which `ted_core.early_warning` speaks.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path

import torch
from trials.records import compared, refuse
from trials.settings import SETTINGS
from trials.training import run

RECORDS = Path(__file__).parent / "records"
METHOD, BUDGET = "ted_loss", 0.5


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("name", choices=SETTINGS)
    parser.add_argument("--data-dir", type=Path, required=True)
    parser.add_argument("--records", type=Path, default=RECORDS)
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    setting, records = SETTINGS[arguments.name], arguments.records
    result = compared(
        setting, refuse, records / f"{arguments.name}.json", progress=False
    )
    row = next(r for r in result.rows if (r.arm, r.budget) == (METHOD, BUDGET))
    data = setting.load(arguments.data_dir)
    losses = {}
    for seed in result.seeds:
        *_, losses[str(seed)] = run(
            setting,
            data,
            seed=seed,
            lr=row.rate,
            epochs=row.epochs,
            stop=max(1, row.epochs // 8) + 1,
            prune_ratio=0.7,
            **setting.methods[METHOD],
        )
        print(arguments.name, seed, losses[str(seed)], flush=True)
    path = records / "early.json"
    found = json.loads(path.read_text(encoding="utf-8")) if path.is_file() else {}
    found[arguments.name] = {"epochs": row.epochs, "rate": row.rate, "losses": losses}
    path.write_text(
        json.dumps(found, indent=1, sort_keys=True) + "\n", encoding="utf-8"
    )


if __name__ == "__main__":
    main()
