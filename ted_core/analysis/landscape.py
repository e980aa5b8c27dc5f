"""Losses between two parameters (Fig. 8), and gradients of two sets (Fig. 4)."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import numpy as np
from numpy.typing import ArrayLike

from ted_core._validation import check_broadcast, check_real_array, check_shape
from ted_core.typing import Floats

__all__ = ["gradient_correlation", "interpolate", "loss_along"]


def interpolate(
    theta_first: ArrayLike, theta_last: ArrayLike, alphas: ArrayLike
) -> Iterator[Floats]:
    r"""Return an iterator over (1 - alpha) theta_1 + alpha theta_T.

    Parameters
    ----------
    theta_first : array_like of float, shape (...)
        theta_1, the parameters before training.
    theta_last : array_like of float, shape (...)
        theta_T, those after it, of the same shape.
    alphas : array_like of float, shape (m,)
        Where to stand: 0 is theta_1 and 1 theta_T, exactly; others go beyond.

    Returns
    -------
    iterator of ndarray of float64, shape (...)
        The m parameters, each a new array.

    Raises
    ------
    ValueError, TypeError
        An argument is not finite or not real, or the shapes do not fit.

    Notes
    -----
    One of them is in memory at a time. A network's ``flat_weights`` hold the statistics
    of its batch norms, too; beyond [0, 1] a variance may turn negative.
    Source: TED, ECAI 2024, Sec. 4.5, Fig. 8.

    References
    ----------
    I. J. Goodfellow, O. Vinyals, A. M. Saxe, Qualitatively characterizing neural
    network optimization problems, ICLR 2015.

    Examples
    --------
    >>> from ted_core.analysis import interpolate
    >>> [theta.tolist() for theta in interpolate([0.0, 4.0], [2.0, 0.0], [0, 0.5, 1])]
    [[0.0, 4.0], [1.0, 2.0], [2.0, 0.0]]
    """
    first = check_real_array("theta_first", theta_first)
    last = check_real_array("theta_last", theta_last)
    check_shape("theta_last", last, first.shape, " like `theta_first`")
    steps = check_real_array("alphas", alphas)
    if steps.ndim != 1:
        msg = f"`alphas` must have shape (m,), got shape {steps.shape}"
        raise ValueError(msg)
    return (np.asarray((1 - alpha) * first + alpha * last) for alpha in steps)


def loss_along(
    evaluate: Callable[[Floats], ArrayLike],
    theta_first: ArrayLike,
    theta_last: ArrayLike,
    alphas: ArrayLike,
) -> Floats:
    r"""Return L(D, (1 - alpha) theta_1 + alpha theta_T) for each alpha.

    Parameters
    ----------
    evaluate : callable
        Takes such parameters and returns their loss, or an array of several numbers:
        losses on several sets, an accuracy.
    theta_first, theta_last, alphas : array_like of float
        As :func:`interpolate` takes them.

    Returns
    -------
    ndarray of float64, shape (m, ...)
        What `evaluate` returned, infinities and NaN included.

    Raises
    ------
    ValueError, TypeError
        As `interpolate`; or `evaluate` returns now one shape, now another.

    Notes
    -----
    m evaluations. Flat around alpha = 1 is the paper's sign of good generalization
    (Sec. 4.5, Fig. 8); networks that differ in scale alone differ in it too.

    Examples
    --------
    >>> from ted_core.analysis import loss_along
    >>> loss_along(lambda theta: (theta**2).sum(), [2.0], [0.0], [0, 0.5, 1]).tolist()
    [4.0, 1.0, 0.0]
    """
    line = interpolate(theta_first, theta_last, alphas)
    values = [np.asarray(evaluate(theta), np.float64) for theta in line]
    shapes = {value.shape for value in values}
    if len(shapes) > 1:
        msg = f"`evaluate` must return one shape, got shapes {sorted(shapes)}"
        raise ValueError(msg)
    return np.array(values)


def gradient_correlation(retained: ArrayLike, full: ArrayLike) -> Floats:
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


def _standardise(name: str, value: ArrayLike) -> Floats:
    """Return a gradient without its mean, of length 1."""
    g = check_real_array(name, value)
    if g.ndim == 0 or g.shape[-1] < 2:  # noqa: PLR2004
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
