"""What a run saves in samples (Eq. 24): planned, and counted."""

from __future__ import annotations

from dataclasses import dataclass

from ted_core._checks import check_int
from ted_core.counts import keep_count
from ted_core.schedules import Schedule, keep_ratios

__all__ = ["Savings", "planned_save_ratio", "save_ratio"]


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

    References
    ----------
    J. Xiao, P. Li, J. Nie, TED: Accelerate Model Training by Internal
    Generalization, ECAI 2024, Eq. 24.

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
    r"""Return the save ratio a schedule plans, the annealing tail counted (Eq. 24).

    Parameters
    ----------
    schedule : Schedule
        The curve and its tail.
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

    References
    ----------
    J. Xiao, P. Li, J. Nie, TED: Accelerate Model Training by Internal
    Generalization, ECAI 2024, Eq. 24.

    Examples
    --------
    >>> from ted_core import RollerCoaster, planned_save_ratio
    >>> round(planned_save_ratio(RollerCoaster(0.7, beta=0.2), 200), 3)
    0.538
    """
    ratios = keep_ratios(schedule, epochs)
    if n is None:
        return float(1 - ratios.mean())
    kept = sum(keep_count(n, float(r), multiple_of=multiple_of) for r in ratios)
    return save_ratio(n * ratios.size, kept)


@dataclass(frozen=True)
class Savings:
    """Samples forwarded so far, beside what full training would have forwarded.

    Parameters
    ----------
    full : int
        Samples of the closed epochs in full training.
    planned : int
        Samples that the plans of those epochs kept.
    forwarded : int
        Samples observed in them, repeats included; what was counted.

    Examples
    --------
    >>> from ted_core import Savings
    >>> Savings(full=1000, planned=400, forwarded=410).ratio
    0.59
    """

    full: int
    planned: int
    forwarded: int

    @property
    def ratio(self) -> float:
        """Counted save ratio (Eq. 24); 0 before the first epoch has closed."""
        return save_ratio(self.full, self.forwarded) if self.full else 0.0

    @property
    def planned_ratio(self) -> float:
        """Save ratio of the plans; 0 before the first epoch has closed."""
        return save_ratio(self.full, self.planned) if self.full else 0.0
