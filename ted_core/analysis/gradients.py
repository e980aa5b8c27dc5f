"""Do the retained samples pull where all samples do? (Eq. 22, Fig. 4)."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray

from ted_core.analysis._validation import check_broadcast, check_real_array

__all__ = ["gradient_correlation"]

_MIN_ENTRIES = 2


def gradient_correlation(retained: ArrayLike, full: ArrayLike) -> NDArray[np.float64]:
    r"""Return the Pearson correlation of two gradients over their entries.

    Parameters
    ----------
    retained : array_like of float, shape (..., p)
        Gradient of L(D - D', theta), the retained samples' loss, flattened.
    full : array_like of float, shape (..., p)
        Gradient of L(D, theta) at the same theta; broadcast against `retained`.

    Returns
    -------
    ndarray of float64, shape (...)
        Correlation in [-1, 1]; 1 where one gradient is the other times a positive
        number, so that a factor on the loss such as 1 / r_t (Eq. 23) makes up for
        what was pruned.

    Raises
    ------
    ValueError, TypeError
        A gradient is not finite, not real, or has less than two entries or only equal
        ones, or the shapes do not broadcast.

    Notes
    -----
    Unlike a cosine, less the means over the entries. O(p).
    Source: TED, ECAI 2024, Sec. 3.5, Eqs. 22 and 23, Fig. 4.

    Examples
    --------
    >>> from ted_core.analysis import gradient_correlation
    >>> full = [1.0, 2.0, 3.0]
    >>> retained = [[0.5, 1.0, 1.5], [3.0, 2.0, 1.0], [2.0, 1.0, 3.0]]
    >>> gradient_correlation(retained, full).round(3).tolist()
    [1.0, -1.0, 0.5]
    """
    a, b = _standardise("retained", retained), _standardise("full", full)
    check_broadcast(retained=a, full=b)
    # Rounding may carry the sum past 1.
    return np.asarray(np.clip((a * b).sum(axis=-1), -1, 1))


def _standardise(name: str, value: ArrayLike) -> NDArray[np.float64]:
    """Return a gradient without its mean, of length 1."""
    g = check_real_array(name, value)
    if g.ndim == 0 or g.shape[-1] < _MIN_ENTRIES:
        msg = f"`{name}` must have shape (..., p) with p >= 2, got shape {g.shape}"
        raise ValueError(msg)
    low, high = g.min(axis=-1, keepdims=True), g.max(axis=-1, keepdims=True)
    if (low == high).any():
        msg = (
            f"`{name}` must have entries that differ, got {low[low == high][0]:g} in "
            "all of them"
        )
        raise ValueError(msg)
    g = g / np.maximum(-low, high)  # neither squares nor sums overflow
    g -= g.mean(axis=-1, keepdims=True)
    return np.asarray(g / np.sqrt(np.square(g).sum(axis=-1, keepdims=True)))
