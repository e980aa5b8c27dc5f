"""A comparison as plain values: what was run, where, and what each epoch took."""

from __future__ import annotations

import os
import platform
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np

from ted_core._version import __version__
from ted_core.demo.images import Images
from ted_core.demo.runs import Settings, TimedRun

__all__ = ["load_average", "machine", "make_record", "make_result", "read_runs"]


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
