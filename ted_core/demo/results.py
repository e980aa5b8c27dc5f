"""A comparison as plain values: what was run, where, and what each epoch took."""

from __future__ import annotations

import os
import platform
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ted_core import __version__
from ted_core.demo.datasets import Images
from ted_core.schedules.counts import save_ratio


@dataclass(frozen=True, kw_only=True)
class Settings:
    """What a training is made of."""

    epochs: int
    prune_ratio: float
    batch_size: int
    width: int  # channels of the network's first stage
    learning_rate: float = 0.05  # the peak; 1 / r_t multiplies a step of SGD as well
    momentum: float = 0.9  # Nesterov's
    weight_decay: float = 5e-4


@dataclass(frozen=True, eq=False, kw_only=True)
class Run:
    """What one training brought, measured."""

    n: int
    accuracy: float
    epoch_seconds: list[float]  # planning and closing included
    epoch_cpu_seconds: list[float]  # comparable even when the machine has other work
    epoch_samples: list[int]
    scores: list[NDArray[np.float32]]  # after each epoch
    times_kept: NDArray[np.uint16]  # epochs that each sample took part in

    @property
    def forwarded(self) -> int:
        """Samples forwarded."""
        return sum(self.epoch_samples)

    @property
    def full(self) -> int:
        """Samples that full training forwards."""
        return self.n * len(self.epoch_samples)

    @property
    def seconds(self) -> float:
        """Time of the whole training loop."""
        return sum(self.epoch_seconds)


def make_record(
    results: Sequence[Mapping[str, Any]],
    *,
    name: str,
    images: Images,
    settings: Settings,
    data: str,
    threads: int,
    versions: Mapping[str, str],
) -> dict[str, Any]:
    """Return all that a comparison measured, and on what, as JSON can hold it."""
    return {
        "name": name,
        "config": asdict(settings)
        | {
            "threads": threads,
            "data": data,
            "x_train": list(images.x_train.shape),
            "x_test": list(images.x_test.shape),
        },
        "versions": {
            "ted-core": __version__,
            "python": platform.python_version(),
            **versions,
            "numpy": np.__version__,
        },
        "machine": machine(),
        "results": list(results),
    }


def make_result(
    run: Run, *, variant: str, seed: int, load: Sequence[float | None]
) -> dict[str, Any]:
    """Return one run as plain values; `load` are its seed's load averages."""
    return {
        "variant": variant,
        "seed": seed,
        "accuracy": run.accuracy,
        "samples_forwarded": run.forwarded,
        "samples_full": run.full,
        "seconds": round(run.seconds, 3),
        "cpu_seconds": round(sum(run.epoch_cpu_seconds), 3),
        "epoch_seconds": [round(value, 4) for value in run.epoch_seconds],
        "epoch_cpu_seconds": [round(value, 4) for value in run.epoch_cpu_seconds],
        "epoch_samples": run.epoch_samples,
        "load_average": list(load),
    }


def read_runs(record: Mapping[str, Any]) -> dict[str, list[Run]]:
    """Return the runs of a record, by variant; scores are not in it."""
    runs: dict[str, list[Run]] = {}
    for result in record["results"]:
        run = Run(
            n=record["config"]["x_train"][0],
            accuracy=result["accuracy"],
            epoch_seconds=result["epoch_seconds"],
            epoch_cpu_seconds=result["epoch_cpu_seconds"],
            epoch_samples=result["epoch_samples"],
            scores=[],
            times_kept=np.zeros(0, dtype=np.uint16),
        )
        runs.setdefault(result["variant"], []).append(run)
    return runs


def machine() -> dict[str, Any]:
    """Return the processor's name and its cores."""
    info = Path("/proc/cpuinfo")
    lines = info.read_text(encoding="utf-8").splitlines() if info.exists() else []
    names = [line.partition(":")[2].strip() for line in lines if "model name" in line]
    return {"cpu": names[0] if names else platform.machine(), "cores": os.cpu_count()}


def load_average() -> float | None:
    """Return the system's load average of the last minute, None where it has none."""
    return round(os.getloadavg()[0], 2) if hasattr(os, "getloadavg") else None


def make_table(runs: Mapping[str, Sequence[Run]]) -> str:
    """Return a plain-text table, one row a variant; savings are against the first."""
    lines = [
        "variant     accuracy %      sd   samples  saved %  seconds  time/samples saved"
    ]
    names = list(runs)
    base = float(np.median([run.seconds for run in runs[names[0]]]))
    for name in names:
        rows = runs[name]
        accuracy = 100 * np.array([run.accuracy for run in rows])
        spread = f"{accuracy.std(ddof=1):.2f}" if len(rows) > 1 else "-"
        saved = save_ratio(
            sum(run.full for run in rows), sum(run.forwarded for run in rows)
        )
        seconds = float(np.median([run.seconds for run in rows]))
        share = f"{(1 - seconds / base) / saved:.2f}" if saved else "-"
        lines.append(
            f"{name:10}{accuracy.mean():12.2f}{spread:>8}{rows[0].forwarded:10d}"
            f"{100 * saved:9.1f}{seconds:9.3f}{share:>20}"
        )
    lines.append(
        f"n = {len(runs[names[0]])} seeds on one split of the data; seconds: medians of"
        " the training loop, with its planning and scoring"
    )
    return "\n".join(lines)
