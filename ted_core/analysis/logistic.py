"""Softmax regression with an exact minimiser: the ground for exact IGDs."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray

from ted_core._checks import check_int, check_real
from ted_core.analysis._doors import check_labelled, check_real_array
from ted_core.analysis.softmax import (
    logistic_gradients,
    logistic_hessian,
    logistic_objective,
)

__all__ = ["fit_logistic"]

_MAX_STEPS = 200


def fit_logistic(
    x: ArrayLike,
    y: ArrayLike,
    *,
    l2: float,
    classes: int | None = None,
    start: NDArray[np.float64] | None = None,
    tolerance: float = 1e-12,
) -> NDArray[np.float64]:
    r"""Return argmin of mean cross entropy + l2/2 ``|theta|^2``, by Newton's method.

    Parameters
    ----------
    x : array_like of float, shape (n, d)
        Inputs; for a bias, give them a column of ones (it is regularised too).
    y : array_like of int, shape (n,)
        Class indices in [0, classes).
    l2 : float
        Weight of the regulariser, above 0: the objective is strongly convex.
    classes : int, optional
        Number of classes, at least 2; the largest label + 1 by default.
    start : ndarray of float64, shape (classes, d), optional
        Where to start; zeros by default.
    tolerance : float, default 1e-12
        Largest entry of the gradient at which to stop, above 0.

    Returns
    -------
    ndarray of float64, shape (classes, d)
        Parameters theta; the logits are x theta'.

    Raises
    ------
    ValueError, TypeError
        An argument has a wrong shape or type, or is out of range.
    RuntimeError
        `tolerance` was not reached; it is below the rounding error of the data.

    Notes
    -----
    O(n p^2 + p^3) a step with p = classes d; about ten steps from zero, three from
    the solution with one sample more.

    References
    ----------
    D. Boehning, Multinomial logistic regression algorithm, Annals of the Institute
    of Statistical Mathematics 44, 1992.

    Examples
    --------
    >>> import numpy as np
    >>> from ted_core.analysis import fit_logistic
    >>> x = np.array([[-1.0], [-2.0], [1.0], [2.0]])
    >>> fit_logistic(x, [0, 0, 1, 1], l2=0.1).round(2).tolist()
    [[-0.92], [0.92]]
    """
    xs, ys = check_labelled(x, y)
    l2 = check_real("l2", l2, low=0, high=np.inf, closed="neither")
    stop = check_real("tolerance", tolerance, low=0, high=np.inf, closed="neither")
    least = max(2, int(ys.max()) + 1)
    c = least if classes is None else check_int("classes", classes, minimum=least)
    shape = (c, xs.shape[1])
    theta = np.zeros(shape) if start is None else check_real_array("start", start)
    if theta.shape != shape:
        msg = f"`start` must have shape {shape}, got shape {theta.shape}"
        raise ValueError(msg)
    for _ in range(_MAX_STEPS):
        gradient = logistic_gradients(theta, xs, ys, l2=l2).mean(axis=0)
        if np.abs(gradient).max() <= stop:
            return theta
        hessian = logistic_hessian(theta, xs, l2=l2)
        step = np.linalg.solve(hessian, gradient).reshape(shape)
        theta = _backtrack(theta, step, xs, ys, l2)
    msg = (
        f"`tolerance` {stop:g} was not reached in {_MAX_STEPS} steps, the gradient "
        f"is {np.abs(gradient).max():g}; scale the data or raise `tolerance`"
    )
    raise RuntimeError(msg)


def _backtrack(
    theta: NDArray[np.float64],
    step: NDArray[np.float64],
    x: NDArray[np.float64],
    y: NDArray[np.int64],
    l2: float,
) -> NDArray[np.float64]:
    before = logistic_objective(theta, x, y, l2=l2)
    most = before + 8 * np.finfo(np.float64).eps * max(1.0, before)
    while logistic_objective(theta - step, x, y, l2=l2) > most:
        step = step / 2
    return theta - step
