"""What the step benchmarks share: paired summaries, the machine and its memory."""

from __future__ import annotations

import ctypes
import os
import platform
from pathlib import Path

import numpy as np

__all__ = ["interval", "keep_memory", "processor", "summarise"]


_M_TRIM_THRESHOLD, _M_MMAP_MAX = -1, -4  # of malloc.h


def interval(values, draws=1000):
    """Give the median of paired values with its bootstrap 95 % interval."""
    values = np.asarray(values)
    chosen = np.random.default_rng(1).integers(0, values.size, (draws, values.size))
    low, high = np.quantile(np.median(values[chosen], axis=1), [0.025, 0.975])
    return [round(float(v), 5) for v in (np.median(values), low, high)]


def summarise(times, against="plain"):
    """Compare each site with the plain step of the same round.

    Parameters
    ----------
    times : dict of str to dict of str to list of float
        Milliseconds by site and clock, one a round.
    against : str, default "plain"
        The site that the others are compared with.

    Returns
    -------
    list of dict
        A row a site: medians, quartiles, and paired ratios and differences.
    """
    rows = []
    for site, clocks in times.items():
        row = {"site": site}
        for clock, values in clocks.items():
            plain, mine = np.array(times[against][clock]), np.array(values)
            q1, median, q3 = np.quantile(mine, [0.25, 0.5, 0.75])
            row[clock] = {
                "median ms": round(float(median), 4),
                "quartiles ms": [round(float(q1), 4), round(float(q3), 4)],
            }
            if site != against:
                row[clock]["ratio, 95 % interval"] = interval(mine / plain)
                row[clock]["extra ms, 95 % interval"] = interval(mine - plain)
        rows.append(row)
    return rows


def keep_memory():
    """Have the C library keep what is freed; tell whether it can be told to.

    Otherwise large tensors go back to the system and come anew in some steps and not
    in others: up to 900 page faults a step, half a millisecond, with TED and without.
    """
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    return bool(mallopt and mallopt(_M_MMAP_MAX, 0) and mallopt(_M_TRIM_THRESHOLD, -1))


def processor():
    """Give the processor's name and its cores."""
    model = platform.processor()
    facts = Path("/proc/cpuinfo")
    if facts.exists():
        lines = facts.read_text(encoding="utf-8").splitlines()
        named = [line.split(":")[1].strip() for line in lines if "model name" in line]
        model = named[0] if named else model
    return {"cpu": model, "cores": os.cpu_count()}
