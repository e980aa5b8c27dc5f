"""What a schedule is, and the epochs around its curve."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any, Literal, Protocol, TypeAlias, runtime_checkable

import numpy as np
from numpy.typing import ArrayLike, NDArray

from ted_core._validation import (
    MOST_EPOCHS,
    as_array,
    check_choice,
    check_int,
    check_kind,
    check_real,
)

__all__ = [
    "Horizon",
    "Schedule",
    "anneal_epochs",
    "check_schedule",
    "keep_ratios",
    "trace",
]

Horizon: TypeAlias = Literal["all", "pruning"]


"""T of Eq. 21: all epochs, or only those before the annealing tail."""


@runtime_checkable
class Schedule(Protocol):
    """What the library asks of a schedule; any object with these members serves."""

    @property
    def prune_ratio(self) -> float:
        """Largest share of the data that is pruned, s."""

    @property
    def anneal(self) -> float:
        """Share of the epochs that train on all data at the end, gamma."""

    @property
    def horizon(self) -> Horizon:
        """What T means: ``"all"`` epochs or the ``"pruning"`` ones."""

    @property
    def warmup(self) -> int:
        """Full epochs at the start."""

    def __call__(self, progress: ArrayLike) -> NDArray[np.float64]:
        """Keep ratio at `progress`."""


def anneal_epochs(schedule: Schedule, epochs: int) -> int:
    r"""Count the full-data epochs at the end, floor(gamma T + 1/2).

    Parameters
    ----------
    schedule : Schedule
        The schedule; its `anneal` is gamma.
    epochs : int
        T, at least 1.

    Returns
    -------
    int
        Epochs of the tail, in [0, epochs].

    Examples
    --------
    >>> from ted_core import RollerCoaster, anneal_epochs
    >>> anneal_epochs(RollerCoaster(0.7, anneal=0.125), 200)
    25
    """
    epochs = check_int("epochs", epochs, minimum=1, maximum=MOST_EPOCHS)
    check_kind("schedule", schedule, Schedule)
    return min(epochs, math.floor(schedule.anneal * epochs + 0.5))


def keep_ratios(schedule: Schedule, epochs: int) -> NDArray[np.float64]:
    r"""Nominal keep ratio of every epoch, r_0 ... r_{T-1}, tail and warm-up included.

    Parameters
    ----------
    schedule : Schedule
        The curve and its tail.
    epochs : int
        Epochs of the run, at least 1.

    Returns
    -------
    ndarray of float64, shape (epochs,)
        Keep ratios in (0, 1].

    Raises
    ------
    ValueError
        The schedule leaves (0, 1].

    Notes
    -----
    Cost: O(epochs).

    References
    ----------
    J. Xiao, P. Li, J. Nie, TED: Accelerate Model Training by Internal
    Generalization, ECAI 2024, Eq. 21, Algorithm 1 line 2.

    Examples
    --------
    >>> from ted_core import RollerCoaster, keep_ratios
    >>> keep_ratios(RollerCoaster(0.7, beta=0.25, anneal=0.25), 4).round(3).tolist()
    [1.0, 0.427, 0.363, 1.0]
    """
    epochs = check_int("epochs", epochs, minimum=1, maximum=MOST_EPOCHS)
    pruning = epochs - anneal_epochs(schedule, epochs)
    horizon = epochs if schedule.horizon == "all" else max(pruning, 1)
    ratios = np.ones(epochs)
    start = min(schedule.warmup, pruning)
    curve = np.asarray(schedule(np.arange(start, pruning) / horizon), np.float64)
    if curve.shape != (pruning - start,) or not np.all((curve > 0) & (curve <= 1)):
        msg = f"`schedule` must return keep ratios in (0, 1], got {curve!r}"
        raise ValueError(msg)
    ratios[start:pruning] = curve
    return ratios


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
