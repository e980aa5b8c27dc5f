"""Loss on retained and on pruned samples (Figs. 1 and 2)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from ted_core._validation import as_array, check_ids, check_real_array
from ted_core.typing import Floats

__all__ = ["LossSummary", "SplitLosses", "split_losses"]


@dataclass(frozen=True, eq=False)
class LossSummary:
    """Mean and quantiles of the losses of one part of the data.

    Parameters
    ----------
    count : ndarray of int64, shape (...)
        Samples of this part.
    mean, quantiles : ndarray of float64, shapes (...) and (q, ...)
        Mean and quantiles of the losses, NaN where the part is empty.
    """

    count: NDArray[np.int64]
    mean: Floats
    quantiles: Floats


@dataclass(frozen=True, eq=False)
class SplitLosses:
    """Losses of the retained samples, D less the pruned, beside those of the pruned.

    Parameters
    ----------
    retained, pruned : LossSummary
        Each part's own.
    """

    retained: LossSummary
    pruned: LossSummary

    @property
    def gap(self) -> Floats:
        """Mean loss on pruned less that on retained samples, shape (...)."""
        return np.asarray(self.pruned.mean - self.retained.mean)


def split_losses(
    losses: ArrayLike, kept: ArrayLike, *, quantiles: ArrayLike = (0.1, 0.5, 0.9)
) -> SplitLosses:
    r"""Return L(D - D', theta) and L(D', theta), D' the pruned samples.

    Parameters
    ----------
    losses : array_like of float, shape (..., n)
        Loss of every sample, pruned or not, at one theta or at several (epochs).
    kept : array_like of bool, shape (n,) or (..., n), or of int, shape (m,)
        Which samples are retained: True for those that are, or their ids.
    quantiles : array_like of float, shape (q,), default (0.1, 0.5, 0.9)
        Quantiles to report, in [0, 1].

    Returns
    -------
    SplitLosses
        Summaries of both parts, one number for each theta.

    Raises
    ------
    ValueError, TypeError
        A loss is not finite or not real, shapes do not fit, ids are out of range or
        repeated, or a quantile is outside [0, 1].

    Notes
    -----
    Where a selection prefers what is hard, a low loss on the pruned samples is no
    merit: look at held-out data as well. O(n log n) for each theta.
    Source: TED, ECAI 2024, Sec. 3.2, Figs. 1 and 2.

    Examples
    --------
    >>> from ted_core.analysis import split_losses
    >>> parts = split_losses([[2.0, 2.0, 4.0], [0.5, 1.5, 3.0]], kept=[0, 1])
    >>> parts.retained.mean.tolist(), parts.pruned.mean.tolist()
    ([2.0, 1.0], [4.0, 3.0])
    >>> parts.gap.tolist()
    [2.0, 2.0]
    """
    values = check_real_array("losses", losses)
    if values.ndim == 0 or values.shape[-1] == 0:
        msg = f"`losses` must have shape (..., n) with n >= 1, got shape {values.shape}"
        raise ValueError(msg)
    q = check_real_array("quantiles", quantiles)
    if q.ndim != 1 or not np.all((q >= 0) & (q <= 1)):
        msg = f"`quantiles` must have shape (q,) and be in [0, 1], got {quantiles!r}"
        raise ValueError(msg)
    mask = _mask(kept, values.shape)
    return SplitLosses(_summarise(values, mask, q), _summarise(values, ~mask, q))


def _mask(kept: ArrayLike, shape: tuple[int, ...]) -> NDArray[np.bool_]:
    """Return `kept` as a mask of the losses' shape."""
    given: NDArray[Any] = as_array("kept", kept)
    n = shape[-1]
    if given.dtype == np.bool_:
        if given.shape not in {(n,), shape}:
            msg = (
                f"`kept` must have shape ({n},) or {shape} like `losses`, got shape "
                f"{given.shape}"
            )
            raise ValueError(msg)
        return np.broadcast_to(given, shape)
    ids = check_ids("kept", given, n)
    if np.unique(ids).size < ids.size:
        msg = "`kept` must hold each id once or be a mask of bool, got repeated ids"
        raise ValueError(msg)
    return np.broadcast_to(np.isin(np.arange(n), ids), shape)


def _summarise(losses: Floats, mask: NDArray[np.bool_], q: Floats) -> LossSummary:
    outer = losses.shape[:-1]
    mean = np.full(outer, np.nan)
    quantiles = np.full((q.size, *outer), np.nan)
    for at in np.ndindex(outer):
        part = losses[at][mask[at]]
        if part.size:
            mean[at] = part.mean()
            quantiles[:, *at] = np.quantile(part, q)
    return LossSummary(mask.sum(axis=-1, dtype=np.int64), mean, quantiles)
