"""What every curve checks on its way in."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from ted_core._checks import as_array, check_choice, check_int, check_real
from ted_core.schedules.base import Schedule

__all__ = ["check_schedule", "trace"]


def check_schedule(schedule: Schedule) -> None:
    """Refuse arguments that make no schedule."""
    ratio = check_real(
        "prune_ratio",
        schedule.prune_ratio,
        low=0,
        high=1,
        closed="left",
        remedy="it is the share to prune at the end of the curve, e.g. 0.7",
    )
    anneal = check_real("anneal", schedule.anneal, low=0, high=1, closed="left")
    warmup = check_int("warmup", schedule.warmup, minimum=0)
    for name, value in (("prune_ratio", ratio), ("anneal", anneal), ("warmup", warmup)):
        object.__setattr__(schedule, name, value)
    check_choice("horizon", schedule.horizon, ("all", "pruning"))


def _progress(progress: ArrayLike) -> NDArray[np.float64]:
    array = as_array("progress", progress)
    if array.dtype.kind not in "fiub":
        msg = f"`progress` must hold real numbers, got dtype {array.dtype}"
        raise TypeError(msg)
    array = array.astype(np.float64)
    if not np.all((array >= 0) & (array <= 1)):
        msg = f"`progress` must be in [0, 1], got {progress!r}"
        raise ValueError(msg)
    return array


def trace(curve: Callable[[Any], Any], progress: ArrayLike) -> NDArray[np.float64]:
    """Evaluate `curve` at `progress`, in its shape."""
    ratios: NDArray[np.float64] = np.asarray(curve(_progress(progress)), np.float64)
    return ratios[()]
