"""The reductions of the alternatives: last, mean and forgetting count."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ted_core.reductions.base import Columns
from ted_core.typing import Scores

__all__ = ["Count", "Last", "Mean"]

_KNOWN, _CORRECT = 1, 2


@dataclass(frozen=True)
class Last:
    """The newest value alone, as InfoBatch scores by it.

    Examples
    --------
    >>> from ted_core import Last
    >>> Last()
    Last()
    """

    @property
    def extra_columns(self) -> Mapping[str, type[np.generic]]:
        """No column beside the score."""
        return {}

    def update(self, columns: Columns, visits: NDArray[Any], value: Scores) -> Columns:
        """Replace the score."""
        del columns, visits
        return {"score": value}

    def rank(self, columns: Columns, visits: NDArray[Any]) -> Scores:
        """Return the score."""
        del visits
        return columns["score"]

    def begin(self, scores: Scores) -> Columns:
        """Return `scores` as they are."""
        return {"score": scores}


@dataclass(frozen=True)
class Mean:
    """The mean of all values, as EL2N-20 averages over its runs.

    Examples
    --------
    >>> from ted_core import Mean
    >>> Mean()
    Mean()
    """

    @property
    def extra_columns(self) -> Mapping[str, type[np.generic]]:
        """No column beside the score; the visits are the count."""
        return {}

    def update(self, columns: Columns, visits: NDArray[Any], value: Scores) -> Columns:
        """Move the mean by (value - mean) / (visits + 1)."""
        mean = np.where(visits == 0, np.float64(0), columns["score"])
        step = (value - mean) / (visits + np.float64(1))
        return {"score": (mean + step).astype(np.float32)}

    def rank(self, columns: Columns, visits: NDArray[Any]) -> Scores:
        """Return the mean."""
        del visits
        return columns["score"]

    def begin(self, scores: Scores) -> Columns:
        """Return `scores` as the mean of one visit."""
        return {"score": scores}


@dataclass(frozen=True)
class Count:
    r"""How often a sample was forgotten: correct (1) before, wrong (0) now.

    A sample that was never correct ranks above all that were.

    References
    ----------
    M. Toneva et al., An empirical study of example forgetting during deep neural
    network learning, ICLR 2019.

    Examples
    --------
    >>> from ted_core import Count
    >>> Count()
    Count()
    """

    @property
    def extra_columns(self) -> Mapping[str, type[np.generic]]:
        """One byte: ever correct, and correct when last seen."""
        return {"learnt": np.uint8}

    def update(self, columns: Columns, visits: NDArray[Any], value: Scores) -> Columns:
        """Count the change from correct to wrong."""
        learnt = columns["learnt"]
        correct = value > 0.5  # noqa: PLR2004 - the values are 0 or 1
        forgotten = ((learnt & _CORRECT) > 0) & ~correct
        events = np.where(visits == 0, np.float32(0), columns["score"]) + forgotten
        known = (learnt & _KNOWN) | (correct * np.uint8(_KNOWN | _CORRECT))
        return {"score": events.astype(np.float32), "learnt": known.astype(np.uint8)}

    def rank(self, columns: Columns, visits: NDArray[Any]) -> Scores:
        """Return the events; a sample never correct gets the largest float32."""
        never = (columns["learnt"] & _KNOWN) == 0
        top = np.finfo(np.float32).max
        score: Scores = columns["score"]
        return np.where(never & (visits > 0), top, score).astype(np.float32)

    def begin(self, scores: Scores) -> Columns:
        """Return `scores` as events of samples that were once correct."""
        return {"score": scores, "learnt": np.full(scores.shape, _KNOWN, np.uint8)}
