"""How many samples an epoch keeps and how many optimizer steps they make."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TypedDict

import numpy as np
from numpy.typing import NDArray

from ted_core._validation import check_bool, check_int, check_real, check_samples
from ted_core.schedules import Schedule, keep_ratios

__all__ = [
    "Savings",
    "StepOptions",
    "keep_count",
    "planned_save_ratio",
    "save_ratio",
    "steps_for",
]


class StepOptions(TypedDict, total=False):
    """Options of :func:`ted_core.steps_for`."""

    accumulation: int
    world_size: int
    drop_last: bool


def keep_count(n: int, keep_ratio: float, *, multiple_of: int = 1) -> int:
    r"""Count the samples an epoch keeps, max(1, floor(r_t n + 1/2)).

    Parameters
    ----------
    n : int
        Samples in the data set, at least 1.
    keep_ratio : float
        Nominal keep ratio r_t, in (0, 1].
    multiple_of : int, default 1
        The count is rounded up to a multiple of this, never above `n`.

    Returns
    -------
    int
        Samples to keep, in [1, n].

    Raises
    ------
    ValueError, TypeError
        An argument is out of its range or of a wrong type.

    Examples
    --------
    >>> from ted_core import keep_count
    >>> keep_count(1000, 0.3), keep_count(1000, 0.3, multiple_of=128)
    (300, 384)
    """
    n = check_samples(n)
    ratio = check_real("keep_ratio", keep_ratio, low=0, high=1, closed="right")
    multiple_of = check_int("multiple_of", multiple_of, minimum=1)
    count = max(1, math.floor(ratio * n + 0.5))
    return min(n, _divide_up(count, multiple_of) * multiple_of)


def keep_counts(
    n: int, ratios: NDArray[np.float64], *, multiple_of: int = 1
) -> NDArray[np.int64]:
    """Return the `keep_count` of each keep ratio."""
    counts = [keep_count(n, float(r), multiple_of=multiple_of) for r in ratios]
    return np.array(counts, np.int64)


def steps_for(
    count: int,
    batch_size: int,
    *,
    accumulation: int = 1,
    world_size: int = 1,
    drop_last: bool = False,
) -> int:
    """Count the optimizer steps that `count` samples make.

    Parameters
    ----------
    count : int
        Samples of the epoch, over all processes.
    batch_size : int
        Samples of one batch on one process.
    accumulation : int, default 1
        Batches of one optimizer step; a remainder makes a step of its own.
    world_size : int, default 1
        Processes that share the samples; uneven shares are padded, as
        ``torch.utils.data.DistributedSampler`` does.
    drop_last : bool, default False
        Whether each process's loader drops an incomplete last batch.

    Raises
    ------
    ValueError, TypeError
        An argument is not an integer in its range.

    Notes
    -----
    A process has ``ceil(count / world_size)`` samples; with `drop_last` whole batches.

    Examples
    --------
    >>> from ted_core import steps_for
    >>> steps_for(1000, 128), steps_for(1000, 128, world_size=2, drop_last=True)
    (8, 3)
    """
    count = check_int("count", count, minimum=0)
    batch_size = check_int("batch_size", batch_size, minimum=1)
    accumulation = check_int("accumulation", accumulation, minimum=1)
    world_size = check_int("world_size", world_size, minimum=1)
    share = _divide_up(count, world_size)
    if check_bool("drop_last", drop_last):
        batches = share // batch_size
    else:
        batches = _divide_up(share, batch_size)
    return _divide_up(batches, accumulation)


def _divide_up(number: int, by: int) -> int:
    """Divide, rounding up."""
    return -(-number // by)


def save_ratio(total_forward: int, real_forward: int) -> float:
    r"""Return the share of forward passes saved, (TFS - RFS) / TFS (Eq. 24).

    Parameters
    ----------
    total_forward : int
        TFS: samples that full training would forward, at least 1.
    real_forward : int
        RFS: samples that were forwarded.

    Returns
    -------
    float
        Save ratio, at most 1; below 0 if more was forwarded than in full training.

    Raises
    ------
    ValueError, TypeError
        An argument is not an integer in its range.

    Examples
    --------
    >>> from ted_core import save_ratio
    >>> save_ratio(1000, 400)
    0.6
    """
    total = check_int("total_forward", total_forward, minimum=1)
    real = check_int("real_forward", real_forward, minimum=0)
    return (total - real) / total


def planned_save_ratio(
    schedule: Schedule, epochs: int, *, n: int | None = None, multiple_of: int = 1
) -> float:
    r"""Return the save ratio a schedule plans, full-data epochs counted (Eq. 24).

    Parameters
    ----------
    schedule : Schedule
        The curve and the full-data epochs around it.
    epochs : int
        Epochs of the run, at least 1.
    n : int, optional
        Samples in the data set, for exact counts; without it the nominal ratios.
    multiple_of : int, default 1
        Rounding of the counts; needs `n`.

    Returns
    -------
    float
        Save ratio in [0, 1).

    Raises
    ------
    ValueError, TypeError
        An argument is out of its range or of a wrong type.

    Examples
    --------
    >>> from ted_core import RollerCoaster, planned_save_ratio
    >>> round(planned_save_ratio(RollerCoaster(0.7, beta=0.2), 200), 3)
    0.538
    """
    ratios = keep_ratios(schedule, epochs)
    if n is None:
        return float(1 - ratios.mean())
    kept = keep_counts(n, ratios, multiple_of=multiple_of)
    return save_ratio(n * ratios.size, int(kept.sum()))


@dataclass(frozen=True)
class Savings:
    """Samples forwarded so far, beside what full training would have forwarded.

    Parameters
    ----------
    full : int
        Samples of the closed epochs in full training; of an epoch that ended early, by
        the share of its plan that was delivered.
    planned : int
        Samples that the plans of those epochs kept and that were delivered.
    forwarded : int
        Samples of the plan that the loss received, each once a pass of each process.
    tokens : Savings, optional
        The same in tokens, each sample once and without padding, of a run that has
        `lengths`.

    Examples
    --------
    >>> from ted_core import Savings
    >>> Savings(full=1000, planned=400, forwarded=410).ratio
    0.59
    """

    full: int
    planned: int
    forwarded: int
    tokens: Savings | None = None

    @property
    def ratio(self) -> float:
        """Counted save ratio (Eq. 24); 0 before the first epoch has closed."""
        return save_ratio(self.full, self.forwarded) if self.full else 0.0

    @property
    def planned_ratio(self) -> float:
        """Save ratio of the plans; 0 before the first epoch has closed."""
        return save_ratio(self.full, self.planned) if self.full else 0.0
