"""How values become a score over the epochs: Polyak averaging (Eq. 19) and others."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import KW_ONLY, dataclass
from types import MappingProxyType
from typing import Any, Literal, Protocol, TypeAlias, runtime_checkable

import numpy as np
from numpy.typing import NDArray

from ted_core._validation import (
    as_scores,
    check_choice,
    check_real,
    check_shape,
    set_real,
)
from ted_core.typing import Counts, Scores

__all__ = ["Columns", "Count", "Last", "Mean", "Polyak", "Reduction", "polyak_update"]

Columns: TypeAlias = dict[str, NDArray[Any]]
"""State columns by name, each of shape (m,); ``"score"`` is always among them."""

MAX_FLOAT = float(np.finfo(np.float32).max)

_KNOWN, _CORRECT = 1, 2  # bits of Count: ever correct, and correct when last seen


@runtime_checkable
class Reduction(Protocol):
    """What the library asks of a reduction.

    `updates` is how many values each sample has had before, shape (m,). A class that
    inherits from it keeps one column and ranks by it, where it does not say otherwise.
    """

    @property
    def extra_columns(self) -> Mapping[str, type[np.generic]]:
        """Dtypes of the columns beside ``"score"``; they start at 0."""
        return {}

    def update(self, columns: Columns, updates: Counts, value: Scores) -> Columns:
        """Return the columns after one more value of each sample."""

    def rank(self, columns: Columns, updates: Counts) -> Scores:
        """Return what the strategy ranks by; may be the score itself."""
        del updates
        return columns["score"]

    def begin(self, scores: Scores) -> Columns:
        """Return the columns that stand for given scores after one update."""
        return {"score": scores}


def polyak_update(score: Scores, value: Scores, *, alpha: float = 0.9) -> Scores:
    r"""Average over time, alpha score + (1 - alpha) value (Eq. 19).

    Parameters
    ----------
    score, value : ndarray of float32, shape (m,)
        Score of each sample before, and the value I_t observed now.
    alpha : float, default 0.9
        Share of the past, in [0, 1).

    Returns
    -------
    ndarray of float32, shape (m,)
        Score of each sample after.

    Raises
    ------
    ValueError, TypeError
        `alpha` is out of range.

    Examples
    --------
    >>> import numpy as np
    >>> from ted_core import polyak_update
    >>> polyak_update(np.float32([1.0]), np.float32([2.0]), alpha=0.5).tolist()
    [1.5]
    """
    share = check_real("alpha", alpha, low=0, high=1, closed="left")
    before, value = as_scores("score", score), as_scores("value", value)
    check_shape("value", value, before.shape)
    past, now = np.float32(share) * before, np.float32(1 - share) * value
    return np.asarray(past + now, np.float32)


@dataclass(frozen=True)
class Polyak(Reduction):
    r"""Polyak averaging over the epochs (Eq. 19); TED's reduction.

    Parameters
    ----------
    alpha : float, default 0.9
        Share of the past, in [0, 1).
    start : {"first", "zero", "debiased"}, default "first"
        Score at first sight: the first value; the literal (1 - alpha) value of a
        score that starts at 0; or that divided by 1 - alpha^updates.

    Raises
    ------
    ValueError, TypeError
        An argument is out of its range.

    Notes
    -----
    With ``"zero"`` a sample pruned after k updates keeps a factor 1 - alpha^k and
    ranks low for that alone.

    Examples
    --------
    >>> from ted_core import Polyak
    >>> Polyak(0.9)
    Polyak(alpha=0.9, start='first')
    """

    alpha: float = 0.9
    _: KW_ONLY
    start: Literal["first", "zero", "debiased"] = "first"

    def __post_init__(self) -> None:
        """Refuse arguments that make no average."""
        set_real(self, "alpha", low=0, high=1, closed="left")
        check_choice("start", self.start, ("first", "zero", "debiased"))

    def update(self, columns: Columns, updates: Counts, value: Scores) -> Columns:
        """Apply Eq. 19, with the start at first sight."""
        fresh = updates == 0
        before = np.where(fresh, np.float32(0), columns["score"])
        score = polyak_update(before, value, alpha=self.alpha)
        if self.start == "first":
            score = np.where(fresh, value, score)
        return {"score": score}

    def rank(self, columns: Columns, updates: Counts) -> Scores:
        """Return the score, divided by 1 - alpha^updates when debiased."""
        score: Scores = columns["score"]
        if self.start != "debiased":
            return score
        bias = 1 - np.float64(self.alpha) ** np.maximum(updates, 1)
        return np.asarray(np.clip(score / bias, -MAX_FLOAT, MAX_FLOAT), np.float32)

    def begin(self, scores: Scores) -> Columns:
        """Return the score whose rank is `scores`."""
        factor = np.float32(1 - self.alpha if self.start == "debiased" else 1)
        return {"score": scores * factor}


@dataclass(frozen=True)
class Last(Reduction):
    """The newest value alone, as InfoBatch scores by it."""

    def update(self, columns: Columns, updates: Counts, value: Scores) -> Columns:
        """Replace the score."""
        del columns, updates
        return {"score": value}


@dataclass(frozen=True)
class Mean(Reduction):
    """The mean of all values, as EL2N-20 averages over its runs."""

    def update(self, columns: Columns, updates: Counts, value: Scores) -> Columns:
        """Move the mean by (value - mean) / (updates + 1)."""
        mean = np.where(updates == 0, np.float64(0), columns["score"])
        step = (value - mean) / (updates + np.float64(1))
        return {"score": (mean + step).astype(np.float32)}


@dataclass(frozen=True)
class Count(Reduction):
    r"""How often a sample was forgotten: correct (1) before, wrong (0) now.

    A sample that was never correct ranks above all that were.

    References
    ----------
    M. Toneva et al., An empirical study of example forgetting, ICLR 2019.
    """

    # One byte: ever correct, and correct when last seen.
    extra_columns = MappingProxyType({"learnt": np.uint8})

    def update(self, columns: Columns, updates: Counts, value: Scores) -> Columns:
        """Count the change from correct to wrong."""
        learnt = columns["learnt"]
        correct = value > 0.5  # noqa: PLR2004 - the values are 0 or 1
        forgotten = ((learnt & _CORRECT) > 0) & ~correct
        events = np.where(updates == 0, np.float32(0), columns["score"]) + forgotten
        known = (learnt & _KNOWN) | (correct * np.uint8(_KNOWN | _CORRECT))
        return {"score": events.astype(np.float32), "learnt": known.astype(np.uint8)}

    def rank(self, columns: Columns, updates: Counts) -> Scores:
        """Return the events; a sample never correct gets the largest float32."""
        never = (columns["learnt"] & _KNOWN) == 0
        most_forgotten = never & (updates > 0)
        return np.where(most_forgotten, MAX_FLOAT, columns["score"]).astype(np.float32)

    def begin(self, scores: Scores) -> Columns:
        """Return `scores` as events of samples that were once correct."""
        return {"score": scores, "learnt": np.full(scores.shape, _KNOWN, np.uint8)}


@dataclass(frozen=True)
class MeanAndVariance(Reduction):
    """Averages of a value and of its squared distance from the mean, for `UCB`."""

    # v = alpha v + (1 - alpha) (x - mu)^2, then mu = alpha mu + (1 - alpha) x; the
    # first value sets mu, and v = 0 (Raju et al. 2021).

    alpha: float = 0.9

    def __post_init__(self) -> None:
        """Refuse a share that makes no average."""
        set_real(self, "alpha", low=0, high=1, closed="left")

    extra_columns = MappingProxyType({"variance": np.float32})

    def update(self, columns: Columns, updates: Counts, value: Scores) -> Columns:
        """Move the variance about the old mean, then the mean."""
        fresh = updates == 0
        mean = np.where(fresh, value, columns["score"])
        with np.errstate(over="ignore"):
            squared = np.minimum(np.square(value.astype(np.float64) - mean), MAX_FLOAT)
        variance = polyak_update(
            columns["variance"], squared.astype(np.float32), alpha=self.alpha
        )
        score = np.where(fresh, value, polyak_update(mean, value, alpha=self.alpha))
        return {"score": score, "variance": variance}

    def begin(self, scores: Scores) -> Columns:
        """Return `scores` as means without variance."""
        return {"score": scores, "variance": np.zeros_like(scores)}
