"""What a record holds: the runs of ``ted_core.compare``, and facts of the setting."""

from __future__ import annotations

import os
import platform

import numpy as np
import torch
from trials.training import measure, run

import ted_core

__all__ = ["compared", "look", "refuse"]


def compared(setting, function, record, *, progress=True):
    """Return the comparison of a setting; what the record has is not run again."""
    return ted_core.compare(
        function,
        epochs=setting.epochs,
        methods=setting.methods,
        budgets=setting.budgets,
        seeds=setting.seeds,
        sweep_seeds=setting.sweep_seeds,
        rates=setting.rates,
        record=record,
        progress=progress,
    )


def refuse(**_):
    """Refuse to train: a record is read, and must be whole."""
    message = "the record must be whole"
    raise ValueError(message)


def look(setting, data):
    """Return what tells the regime, of one full run, and where it was measured."""
    rate = sorted(setting.rates)[len(setting.rates) // 2]
    options = {"prune_ratio": 0.0, "method": "random"}
    _, network, _ = run(
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
