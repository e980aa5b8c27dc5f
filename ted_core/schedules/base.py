"""What a schedule is, and the epochs around its curve."""

from __future__ import annotations

import math
from typing import Literal, Protocol, TypeAlias, runtime_checkable

import numpy as np
from numpy.typing import ArrayLike, NDArray

from ted_core._validation import MAX_EPOCHS, check_int, check_kind

__all__ = ["Horizon", "Schedule", "anneal_epochs", "keep_ratios"]

Horizon: TypeAlias = Literal["all", "pruning"]
"""T of Eq. 21: all epochs, or only those before the full-data epochs."""


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
        Full-data epochs at the end, in [0, epochs].

    Examples
    --------
    >>> from ted_core import RollerCoaster, anneal_epochs
    >>> anneal_epochs(RollerCoaster(0.7, anneal=0.125), 200)
    25
    """
    epochs = check_int("epochs", epochs, minimum=1, maximum=MAX_EPOCHS)
    check_kind("schedule", schedule, Schedule)
    return min(epochs, math.floor(schedule.anneal * epochs + 0.5))


def keep_ratios(schedule: Schedule, epochs: int) -> NDArray[np.float64]:
    r"""Nominal keep ratio of every epoch, r_0 ... r_{T-1}, all full-data epochs included.

    Parameters
    ----------
    schedule : Schedule
        The curve and the full-data epochs around it.
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
    epochs = check_int("epochs", epochs, minimum=1, maximum=MAX_EPOCHS)
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
