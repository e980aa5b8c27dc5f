"""Polyak averaging over the epochs (Eq. 19)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import KW_ONLY, dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from ted_core._checks import as_scores, check_choice, check_real
from ted_core.reductions.base import Columns
from ted_core.typing import Scores

__all__ = ["Polyak", "polyak_update"]


def polyak_update(score: Scores, value: Scores, *, alpha: float = 0.9) -> Scores:
    r"""Average over time, alpha score + (1 - alpha) value (Eq. 19).

    Parameters
    ----------
    score : ndarray of float32, shape (m,)
        Score of each sample before.
    value : ndarray of float32, shape (m,)
        Value observed now, I_t.
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

    Notes
    -----
    Pure, in float32. Cost: O(m).

    References
    ----------
    J. Xiao, P. Li, J. Nie, TED: Accelerate Model Training by Internal
    Generalization, ECAI 2024, Eq. 19.

    Examples
    --------
    >>> import numpy as np
    >>> from ted_core import polyak_update
    >>> polyak_update(np.float32([1.0]), np.float32([2.0]), alpha=0.5).tolist()
    [1.5]
    """
    share = check_real("alpha", alpha, low=0, high=1, closed="left")
    before, value = as_scores("score", score), as_scores("value", value)
    if before.shape != value.shape:
        msg = f"`value` must have shape {before.shape}, got shape {value.shape}"
        raise ValueError(msg)
    past, now = np.float32(share) * before, np.float32(1 - share) * value
    return np.asarray(past + now, np.float32)


@dataclass(frozen=True)
class Polyak:
    r"""Polyak averaging over the epochs (Eq. 19); TED's reduction.

    Parameters
    ----------
    alpha : float, default 0.9
        Share of the past, in [0, 1).
    start : {"first", "zero", "debiased"}, default "first"
        Score at first sight: the first value; the literal (1 - alpha) value of a
        score that starts at 0; or that divided by 1 - alpha^visits.

    Raises
    ------
    ValueError, TypeError
        An argument is out of its range.

    Notes
    -----
    With ``"zero"`` a sample pruned after k updates keeps a factor 1 - alpha^k and
    ranks low for that alone.

    References
    ----------
    J. Xiao, P. Li, J. Nie, TED: Accelerate Model Training by Internal
    Generalization, ECAI 2024, Eq. 19.

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
        alpha = check_real("alpha", self.alpha, low=0, high=1, closed="left")
        object.__setattr__(self, "alpha", alpha)
        check_choice("start", self.start, ("first", "zero", "debiased"))

    @property
    def extra_columns(self) -> Mapping[str, type[np.generic]]:
        """No column beside the score."""
        return {}

    def update(self, columns: Columns, visits: NDArray[Any], value: Scores) -> Columns:
        """Apply Eq. 19, with the start at first sight."""
        fresh = visits == 0
        before = np.where(fresh, np.float32(0), columns["score"])
        score = polyak_update(before, value, alpha=self.alpha)
        if self.start == "first":
            score = np.where(fresh, value, score)
        return {"score": score}

    def rank(self, columns: Columns, visits: NDArray[Any]) -> Scores:
        """Return the score, divided by 1 - alpha^visits when debiased."""
        score: Scores = columns["score"]
        if self.start != "debiased":
            return score
        bias = 1 - np.float64(self.alpha) ** np.maximum(visits, 1)
        most = np.finfo(np.float32).max
        return np.asarray(np.clip(score / bias, -most, most), np.float32)

    def begin(self, scores: Scores) -> Columns:
        """Return the score whose rank is `scores`."""
        factor = np.float32(1 - self.alpha if self.start == "debiased" else 1)
        return {"score": scores * factor}
