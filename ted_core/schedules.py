"""How much is kept: curves from progress t/T in [0, 1] to the keep ratio r_t.

Around the curve stand `warmup` full-data epochs at the start and, as the share `anneal`
(gamma) of the epochs, those at the end. Ratios make counts of samples and of optimizer
steps, and these the savings.
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from dataclasses import KW_ONLY, dataclass
from typing import Any, Literal, Protocol, TypeAlias, TypedDict, runtime_checkable

import numpy as np
from numpy.typing import ArrayLike, NDArray

from ted_core._validation import (
    MAX_EPOCHS,
    as_array,
    check_bool,
    check_choice,
    check_int,
    check_kind,
    check_real,
    check_samples,
    set_real,
)
from ted_core.typing import Floats

__all__ = [
    "Constant",
    "Cosine",
    "Horizon",
    "Linear",
    "RollerCoaster",
    "Savings",
    "Schedule",
    "StepOptions",
    "keep_count",
    "keep_ratios",
    "planned_save_ratio",
    "save_ratio",
    "steps_for",
]

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

    def __call__(self, progress: ArrayLike) -> Floats:
        """Keep ratio at `progress`."""


def anneal_epochs(schedule: Schedule, epochs: int) -> int:
    """Count the full-data epochs at the end, floor(gamma T + 1/2), at most T."""
    epochs = check_int("epochs", epochs, minimum=1, maximum=MAX_EPOCHS)
    check_kind("schedule", schedule, Schedule)
    return min(epochs, math.floor(schedule.anneal * epochs + 0.5))


def keep_ratios(schedule: Schedule, epochs: int) -> Floats:
    r"""Nominal keep ratio of every epoch, r_0 ... r_{T-1}, full-data ones too.

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
    Cost: O(epochs). Source: TED, ECAI 2024, Eq. 21, Algorithm 1 line 2.

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


@dataclass(frozen=True)
class _Curve(ABC):
    """What all curves have: their parameters, the checks, and the call."""

    prune_ratio: float = 0.7
    _: KW_ONLY
    anneal: float = 0.125
    horizon: Horizon = "all"
    warmup: int = 0

    def __post_init__(self) -> None:
        """Refuse arguments that make no schedule."""
        remedy = "it is the share to prune at the end of the curve, e.g. 0.7"
        set_real(self, "prune_ratio", low=0, high=1, closed="left", remedy=remedy)
        set_real(self, "anneal", low=0, high=1, closed="left")
        object.__setattr__(self, "warmup", check_int("warmup", self.warmup, minimum=0))
        check_choice("horizon", self.horizon, ("all", "pruning"))

    def __call__(self, progress: ArrayLike) -> Floats:
        """Keep ratio r_t at `progress` t/T in [0, 1], of the same shape."""
        array = as_array("progress", progress, kinds="fiub").astype(np.float64)
        if not np.all((array >= 0) & (array <= 1)):
            msg = f"`progress` must be in [0, 1], got {progress!r}"
            raise ValueError(msg)
        ratios: Floats = np.asarray(self._ratio(array), np.float64)
        return ratios[()]

    @abstractmethod
    def _ratio(self, progress: Floats) -> Any:
        """Return the curve."""


@dataclass(frozen=True)
class RollerCoaster(_Curve):
    r"""Fast-to-slow decline, r_t = exp((t/T)^beta log(1 - s)) (Eq. 21).

    Parameters
    ----------
    prune_ratio : float, default 0.7
        s, in [0, 1): the share pruned at progress 1.
    beta : float, default 0.25
        Shape, above 0; smaller declines faster. The paper uses 0.2 to 0.3.
    anneal : float, default 0.125
        gamma, in [0, 1): share of full-data epochs at the end (0.125 for
        images and 0 for text in the paper).
    horizon : {"all", "pruning"}, default "all"
        T: all epochs, or those before the full-data epochs at the end.
    warmup : int, default 0
        Full-data epochs at the start; pruning begins after them.

    Raises
    ------
    ValueError, TypeError
        An argument is out of its range or of a wrong type.

    Notes
    -----
    Cost: O(size of `progress`). Source: TED, ECAI 2024, Eq. 21 and Appendix A.

    Examples
    --------
    >>> from ted_core import RollerCoaster
    >>> RollerCoaster(0.7, beta=0.25)([0.0, 0.5, 1.0]).round(3).tolist()
    [1.0, 0.363, 0.3]
    """

    _: KW_ONLY
    beta: float = 0.25

    def __post_init__(self) -> None:
        """Refuse arguments that make no schedule."""
        super().__post_init__()
        set_real(self, "beta", low=0, high=math.inf, closed="neither")

    def _ratio(self, progress: Floats) -> Any:
        return np.exp(progress**self.beta * math.log1p(-self.prune_ratio))


@dataclass(frozen=True)
class Linear(_Curve):
    r"""Straight decline, r_t = 1 - s t/T (Fig. 7, Linear).

    Parameters
    ----------
    prune_ratio, anneal, horizon, warmup : float, float, str and int
        As :class:`RollerCoaster` takes and refuses them.

    Examples
    --------
    >>> from ted_core import Linear
    >>> Linear(0.7)([0.0, 0.5, 1.0]).round(3).tolist()
    [1.0, 0.65, 0.3]
    """

    def _ratio(self, progress: Floats) -> Any:
        return 1 - self.prune_ratio * progress


@dataclass(frozen=True)
class Cosine(_Curve):
    r"""Half a cosine, r_t = 1 - s (1 - cos(pi t/T)) / 2 (Fig. 7, Cos).

    Parameters
    ----------
    prune_ratio, anneal, horizon, warmup : float, float, str and int
        As :class:`RollerCoaster` takes and refuses them.

    Examples
    --------
    >>> from ted_core import Cosine
    >>> Cosine(0.7)([0.0, 0.5, 1.0]).round(3).tolist()
    [1.0, 0.65, 0.3]
    """

    def _ratio(self, progress: Floats) -> Any:
        return 1 - self.prune_ratio * (1 - np.cos(np.pi * progress)) / 2


@dataclass(frozen=True)
class Constant(_Curve):
    r"""Fixed share from the first epoch on, r_t = 1 - s (Fig. 7, Fix).

    Parameters
    ----------
    prune_ratio : float, default 0.7
        s, in [0, 1): the share pruned in every epoch of the curve.
    anneal, horizon, warmup : float, str and int
        As :class:`RollerCoaster` takes and refuses them.

    Examples
    --------
    >>> from ted_core import Constant
    >>> Constant(0.7)([0.0, 0.5, 1.0]).round(3).tolist()
    [0.3, 0.3, 0.3]
    """

    def _ratio(self, progress: Floats) -> Any:
        return np.full_like(progress, 1 - self.prune_ratio)


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


def keep_counts(n: int, ratios: Floats, *, multiple_of: int = 1) -> NDArray[np.int64]:
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

    def __str__(self) -> str:
        """Return the ratios in words, for people."""
        said = f"{self.forwarded} of {self.full} samples forwarded"
        said = f"{100 * self.ratio:.1f} % saved, {said}"
        if self.tokens is None:
            return said
        saved = 100 * self.tokens.ratio
        return (
            f"{said}; of the tokens {saved:.1f} % saved, {self.tokens.forwarded} of "
            f"{self.tokens.full} forwarded"
        )

    @property
    def ratio(self) -> float:
        """Counted save ratio (Eq. 24); 0 before the first epoch has closed."""
        return save_ratio(self.full, self.forwarded) if self.full else 0.0

    @property
    def planned_ratio(self) -> float:
        """Save ratio of the plans; 0 before the first epoch has closed."""
        return save_ratio(self.full, self.planned) if self.full else 0.0
