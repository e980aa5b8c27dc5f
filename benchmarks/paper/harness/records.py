"""A record: what was run, where, and what each run brought; written whole or not."""

from __future__ import annotations

import json
import platform
from importlib.metadata import version

import numpy as np
import torch

from ted_core import __version__
from ted_core.demo.engine import machine

__all__ = ["PARTS", "open_record", "take_run", "write"]

PARTS = "data", "training", "pruning"
"""What must not change under a record; methods may be added."""


def open_record(path, config, *, device, threads, packages=()):
    """Return the record at `path`, or a new one; refuse one of another making."""
    record = {
        "name": config["name"],
        "config": config,
        "versions": {
            "ted-core": __version__,
            "python": platform.python_version(),
            "torch": torch.__version__,
            "numpy": np.__version__,
        }
        | {name: version(name) for name in packages},
        "machine": machine_of(device) | {"threads": threads},
        "runs": [],
    }
    if path.exists():
        old = json.loads(path.read_text(encoding="utf-8"))
        for part in PARTS:
            compare(part, old["config"][part], config[part])
        for part in ("versions", "machine"):
            compare(part, old[part], record[part])
        record["runs"] = old["runs"]
    return record


def compare(part, old, new):
    """Refuse a record whose runs would not be alike."""
    if old != new:
        message = f"the record has another {part}: {old} != {new}"
        raise SystemExit(message)


def machine_of(device):
    """Return the processor and the device."""
    if torch.device(device).type == "cuda":
        return machine() | {"device": torch.cuda.get_device_name(device)}
    return machine() | {"device": "cpu"}


def take_run(record, ratio, method, seed):
    """Return the run of these, or None."""
    for run in record["runs"]:
        if (run["prune_ratio"], run["method"], run["seed"]) == (ratio, method, seed):
            return run
    return None


def write(path, record):
    """Write the record; numbers of one list stand on one line."""
    path.parent.mkdir(parents=True, exist_ok=True)
    head = {k: v for k, v in record.items() if k != "runs"}
    text = json.dumps(head, indent=1)[:-2] + ',\n "runs": [\n'
    text += ",\n".join("  " + json.dumps(run) for run in record["runs"])
    beside = path.with_suffix(".new")
    beside.write_text(text + "\n ]\n}\n", encoding="utf-8")
    beside.replace(path)
