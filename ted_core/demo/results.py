"""A comparison as plain values: what was run, where, and what each epoch took."""

from __future__ import annotations

import os
import platform
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from ted_core._version import __version__
from ted_core.demo.datasets import Images
from ted_core.demo.training import Run
from ted_core.schedules.counts import save_ratio
from ted_core.strategies import Random, Strategy, TopScore

__all__ = [
    "VARIANTS",
    "Settings",
    "TimedRun",
    "load_average",
    "machine",
    "make_record",
    "make_result",
    "make_table",
    "read_runs",
]

VARIANTS: dict[str, Strategy | None] = {
    "full": None,
    "random": Random(),
    "TED": TopScore(),
}


"""What each variant keeps; None is a plain training on all data."""


@dataclass(frozen=True, kw_only=True)
class Settings:
    """What a training is made of.

    Parameters
    ----------
    epochs : int
        Epochs, at least 2.
    prune_ratio : float
        Largest share of the samples that an epoch leaves out, in [0, 1).
    batch_size : int
        Samples of one step.
    width : int
        Channels of the network's first stage.
    learning_rate : float, default 0.05
        Peak of the one-cycle schedule. With SGD the factor 1 / r_t multiplies the
        step, here by up to 1 / (1 - prune_ratio).
    momentum : float, default 0.9
        Nesterov momentum.
    weight_decay : float, default 0.0005
        Weight decay.
    """

    epochs: int
    prune_ratio: float
    batch_size: int
    width: int
    learning_rate: float = 0.05
    momentum: float = 0.9
    weight_decay: float = 5e-4


@dataclass(frozen=True, eq=False, kw_only=True)
class TimedRun(Run):
    """What one training brought, measured; see `ted_core.demo.Run`.

    Parameters
    ----------
    epoch_cpu_seconds : list of float
        Processor time of each epoch, over all threads: what remains comparable when
        a machine has other work.
    epoch_samples : list of int
        Samples that each epoch forwarded.
    """

    epoch_cpu_seconds: list[float]
    epoch_samples: list[int]


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
    """Return a record that JSON can hold.

    Parameters
    ----------
    results : sequence of mapping
        What `make_result` returned.
    name : str
        Name of the record.
    images : Images
        Data.
    settings : Settings
        Of the trainings.
    data : str
        What the data are.
    threads : int
        Threads of the framework.
    versions : mapping of str to str
        Versions of the framework.

    Returns
    -------
    dict
        ``name``, ``config``, ``versions``, ``machine`` and ``results``.
    """
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
    run: TimedRun, *, variant: str, seed: int, load: Sequence[float | None]
) -> dict[str, Any]:
    """Return one run as plain values.

    Parameters
    ----------
    run : TimedRun
        The run.
    variant : str
        Its variant.
    seed : int
        Its seed.
    load : sequence of float or None
        Load averages while this seed's variants were trained.

    Returns
    -------
    dict
        Accuracy, counts, seconds in all and of each epoch, and the load averages.
    """
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


def read_runs(record: Mapping[str, Any]) -> dict[str, list[TimedRun]]:
    """Return the runs of a record, by variant; scores are not in it.

    Parameters
    ----------
    record : mapping
        What `make_record` returned.

    Returns
    -------
    dict of str to list of TimedRun
        Runs in the order of the record.
    """
    runs: dict[str, list[TimedRun]] = {}
    n = record["config"]["x_train"][0]
    for result in record["results"]:
        run = TimedRun(
            accuracy=result["accuracy"],
            forwarded=result["samples_forwarded"],
            full=result["samples_full"],
            epoch_seconds=result["epoch_seconds"],
            keep_ratios=[samples / n for samples in result["epoch_samples"]],
            scores=[],
            visits=np.zeros(0, dtype=np.uint16),
            epoch_cpu_seconds=result["epoch_cpu_seconds"],
            epoch_samples=result["epoch_samples"],
        )
        runs.setdefault(result["variant"], []).append(run)
    return runs


def machine() -> dict[str, Any]:
    """Return the processor's name and its cores.

    Returns
    -------
    dict
        ``cpu`` and ``cores``.
    """
    info = Path("/proc/cpuinfo")
    lines = info.read_text(encoding="utf-8").splitlines() if info.exists() else []
    names = [line.partition(":")[2].strip() for line in lines if "model name" in line]
    return {
        "cpu": names[0] if names else platform.machine(),
        "cores": os.cpu_count(),
    }


def load_average() -> float | None:
    """Return the processes that ran or waited in the last minute, on average.

    Returns
    -------
    float or None
        The load average; None where the system has none.
    """
    return round(os.getloadavg()[0], 2) if hasattr(os, "getloadavg") else None


def make_table(runs: Mapping[str, Sequence[Run]]) -> str:
    """Return a plain-text table, one row a variant; the first is the full run.

    Parameters
    ----------
    runs : mapping of str to sequence of Run
        Runs over the same seeds in the same order, by variant.

    Returns
    -------
    str
        Accuracy (mean and sd over the seeds, in percent), samples forwarded, save
        ratio (Eq. 24), median seconds of the training loop, and the share of seconds
        saved over the share of samples saved, against the first variant.
    """
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
