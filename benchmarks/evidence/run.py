"""Compare all arms in one setting, each at its own best rate, and record the runs.

python benchmarks/evidence/run.py plenty --data-dir DATA

The same command goes on where it was stopped.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import warnings
from functools import partial
from pathlib import Path

import numpy as np
import torch
from settings import SETTINGS
from training import measure, run, train

import ted_core

RECORDS = Path(__file__).parent / "records"


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("name", choices=SETTINGS)
    parser.add_argument("--data-dir", type=Path, required=True)
    parser.add_argument("--records", type=Path, default=RECORDS)
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    warnings.simplefilter("ignore", ted_core.TedWarning)  # few epochs save little
    setting = SETTINGS[arguments.name]
    data = setting.load(arguments.data_dir)
    facts = arguments.records / f"{arguments.name}_facts.json"
    if not facts.is_file():
        facts.write_text(json.dumps(look(setting, data), indent=1) + "\n")
    record = arguments.records / f"{arguments.name}.json"
    print(compared(setting, partial(train, setting, data), record))


def compared(setting, function, record):
    """Return the comparison of a setting; what the record has is not run again."""
    return ted_core.compare(
        function,
        epochs=setting.epochs,
        methods=setting.methods,
        budgets=setting.budgets,
        seeds=setting.seeds,
        rates=setting.rates,
        record=record,
    )


def look(setting, data):
    """Return what tells the regime, of one full run, and where it was measured."""
    rate = sorted(setting.rates)[len(setting.rates) // 2]
    options = {"prune_ratio": 0.0, "method": "random"}
    _, network = run(
        setting, data, seed=10**6, lr=rate, epochs=setting.epochs, **options
    )
    trained, tested = measure(network, data.train()), measure(network, data.test())
    labels = [y for _, y in data.test()]
    counts = np.bincount(torch.cat(labels).numpy())
    return {
        "samples": len(data),
        "tests": int(counts.sum()),
        "majority": round(100 * float(counts.max() / counts.sum()), 2),
        "rate": rate,
        "train": {name: round(value, 4) for name, value in trained.items()},
        "test": {name: round(value, 4) for name, value in tested.items()},
        "machine": platform.machine(),
        "cores": os.cpu_count(),
        "threads": torch.get_num_threads(),
        "python": platform.python_version(),
        "torch": torch.__version__,
        "ted_core": ted_core.__version__,
    }


if __name__ == "__main__":
    main()
