"""Write what a gallery script trained: one line a run, and what it ran on."""

from __future__ import annotations

import json
import platform
from importlib.metadata import version

from ted_core import __version__
from ted_core.demo.engine import machine

__all__ = ["write_record"]


def write_record(path, config, shown, runs):
    """Write the record of these runs to `path`, named after it."""
    record = {
        "name": path.stem,
        "config": config,
        "versions": {"ted-core": __version__, "python": platform.python_version()}
        | {name: version(name) for name in ("numpy", "torch", "scikit-learn")},
        "machine": machine(),
        "shown": shown,
    }
    lines = [f'"{key}": {json.dumps(value)}' for key, value in record.items()]
    rows = ",\n ".join(json.dumps(run) for run in runs)
    lines.append(f'"runs": [\n {rows}\n]')
    path.write_text("{\n" + ",\n".join(lines) + "\n}\n", encoding="utf-8")
