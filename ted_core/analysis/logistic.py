"""Softmax regression with an exact minimiser: the ground for exact IGDs."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray

from ted_core._validation import check_int, check_real, check_shape
from ted_core.analysis._validation import check_labelled, check_real_array

__all__ = ["fit_logistic", "logistic_objective"]

_MAX_STEPS = 200


def logistic_losses(
    theta: NDArray[np.float64], x: ArrayLike, y: ArrayLike
) -> NDArray[np.float64]:
    """Return each sample's cross entropy, shape (n,), without the regulariser."""
    xs, ys = check_labelled(x, y)
    z = xs @ theta.T
    top = z.max(axis=1)
    own = z[np.arange(len(ys)), ys]
    losses = np.log(np.exp(z - top[:, None]).sum(axis=1)) + (top - own)
    return np.asarray(losses, np.float64)


def logistic_objective(
    theta: NDArray[np.float64], x: ArrayLike, y: ArrayLike, *, l2: float
) -> float:
    r"""Return L(D, theta), the mean cross entropy + l2/2 ``|theta|^2``.

    Parameters
    ----------
    theta : ndarray of float64, shape (classes, d)
        Parameters.
    x, y : array_like, shapes (n, d) and (n,)
        Inputs, and class indices.
    l2 : float
        Weight of the regulariser.

    Returns
    -------
    float
        What `fit_logistic` minimises.

    Raises
    ------
    ValueError, TypeError
        `x` or `y` have a wrong shape or type.

    Examples
    --------
    >>> import numpy as np
    >>> from ted_core.analysis import logistic_objective
    >>> round(logistic_objective(np.ones((2, 1)), [[1.0]], [0], l2=0.1), 3)
    0.793
    """
    return float(logistic_losses(theta, x, y).mean() + l2 / 2 * np.square(theta).sum())


def logistic_gradients(
    theta: NDArray[np.float64], x: ArrayLike, y: ArrayLike, *, l2: float
) -> NDArray[np.float64]:
    """Return g_k, gradient of each sample's share of the objective, (n, classes d)."""
    xs, ys = check_labelled(x, y)
    residual = _softmax(xs @ theta.T)
    residual[np.arange(len(ys)), ys] -= 1
    data = residual[:, :, None] * xs[:, None, :]
    return np.asarray((data + l2 * theta).reshape(len(xs), -1), np.float64)


def logistic_hessian(
    theta: NDArray[np.float64], x: ArrayLike, *, l2: float
) -> NDArray[np.float64]:
    """Return H, the Hessian of the objective, shape (classes d, classes d)."""
    xs = check_real_array("x", x)
    (n, d), c = xs.shape, len(theta)
    p = _softmax(xs @ theta.T)
    weighted = (p[:, :, None] * xs[:, None, :]).reshape(n, c * d)
    hessian = weighted.T @ weighted / -n
    for j in range(c):  # the diagonal blocks have p_j (1 - p_j)
        block = slice(j * d, (j + 1) * d)
        hessian[block, block] += weighted[:, block].T @ xs / n
    hessian[np.diag_indices(c * d)] += l2
    return np.asarray(hessian, np.float64)


def _softmax(z: NDArray[np.float64]) -> NDArray[np.float64]:
    e = np.exp(z - z.max(axis=1, keepdims=True))
    return np.asarray(e / e.sum(axis=1, keepdims=True), np.float64)


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
    O(n p^2 + p^3) a step with p = classes d; about ten steps from zero.

    References
    ----------
    D. Boehning, Multinomial logistic regression algorithm, 1992.

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
    found = max(2, int(ys.max()) + 1)
    c = found if classes is None else check_int("classes", classes, minimum=found)
    shape = (c, xs.shape[1])
    theta = np.zeros(shape) if start is None else check_real_array("start", start)
    check_shape("start", theta, shape)
    for _ in range(_MAX_STEPS):
        gradient = logistic_gradients(theta, xs, ys, l2=l2).mean(axis=0)
        if np.abs(gradient).max() <= stop:
            return theta
        hessian = logistic_hessian(theta, xs, l2=l2)
        step = np.linalg.solve(hessian, gradient).reshape(shape)
        # Halve the step until it lowers the objective, to its rounding error.
        before = logistic_objective(theta, xs, ys, l2=l2)
        bound = before + 8 * np.finfo(np.float64).eps * max(1.0, before)
        while logistic_objective(theta - step, xs, ys, l2=l2) > bound:
            step = step / 2
        theta = theta - step
    msg = (
        f"`tolerance` {stop:g} was not reached in {_MAX_STEPS} steps, the gradient "
        f"is {np.abs(gradient).max():g}; scale the data or raise `tolerance`"
    )
    raise RuntimeError(msg)
