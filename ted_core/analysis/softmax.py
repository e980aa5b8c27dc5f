"""The objective of softmax regression, its gradients and its Hessian."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray

from ted_core.analysis._doors import check_labelled, check_real_array

__all__ = [
    "logistic_gradients",
    "logistic_hessian",
    "logistic_losses",
    "logistic_objective",
]


def logistic_losses(
    theta: NDArray[np.float64], x: ArrayLike, y: ArrayLike
) -> NDArray[np.float64]:
    r"""Return each sample's cross entropy, without the regulariser.

    Parameters
    ----------
    theta : ndarray of float64, shape (classes, d)
        Parameters.
    x : array_like of float, shape (n, d)
        Inputs.
    y : array_like of int, shape (n,)
        Class indices.

    Returns
    -------
    ndarray of float64, shape (n,)
        Losses, >= 0.

    Raises
    ------
    ValueError, TypeError
        `x` or `y` have a wrong shape or type.

    Examples
    --------
    >>> import numpy as np
    >>> from ted_core.analysis import logistic_losses
    >>> logistic_losses(np.zeros((2, 1)), [[1.0]], [0]).round(3).tolist()
    [0.693]
    """
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
    x : array_like of float, shape (n, d)
        Inputs.
    y : array_like of int, shape (n,)
        Class indices.
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
    r"""Return g_k, the gradient of each sample's share of the objective.

    Parameters
    ----------
    theta : ndarray of float64, shape (classes, d)
        Parameters.
    x : array_like of float, shape (n, d)
        Inputs.
    y : array_like of int, shape (n,)
        Class indices.
    l2 : float
        Weight of the regulariser, which is part of every sample's share.

    Returns
    -------
    ndarray of float64, shape (n, classes d)
        Gradients; their mean is 0 at the minimiser.

    Raises
    ------
    ValueError, TypeError
        `x` or `y` have a wrong shape or type.

    Examples
    --------
    >>> import numpy as np
    >>> from ted_core.analysis import logistic_gradients
    >>> logistic_gradients(np.zeros((2, 1)), [[1.0]], [0], l2=0.1).tolist()
    [[-0.5, 0.5]]
    """
    xs, ys = check_labelled(x, y)
    residual = _softmax(xs @ theta.T)
    residual[np.arange(len(ys)), ys] -= 1
    data = residual[:, :, None] * xs[:, None, :]
    return np.asarray((data + l2 * theta).reshape(len(xs), -1), np.float64)


def logistic_hessian(
    theta: NDArray[np.float64], x: ArrayLike, *, l2: float
) -> NDArray[np.float64]:
    r"""Return H, the Hessian of the objective.

    Parameters
    ----------
    theta : ndarray of float64, shape (classes, d)
        Parameters.
    x : array_like of float, shape (n, d)
        Inputs.
    l2 : float
        Weight of the regulariser.

    Returns
    -------
    ndarray of float64, shape (classes d, classes d)
        H, symmetric, positive definite for `l2` above 0.

    Examples
    --------
    >>> import numpy as np
    >>> from ted_core.analysis import logistic_hessian
    >>> logistic_hessian(np.zeros((2, 1)), [[2.0]], l2=0.5).tolist()
    [[1.5, -1.0], [-1.0, 1.5]]
    """
    xs = check_real_array("x", x)
    (n, d), c = xs.shape, len(theta)
    p = _softmax(xs @ theta.T)
    weighted = (p[:, :, None] * xs[:, None, :]).reshape(n, c * d)
    hessian = weighted.T @ weighted / -n
    for j in range(c):
        block = slice(j * d, (j + 1) * d)
        hessian[block, block] += weighted[:, block].T @ xs / n
    hessian[np.diag_indices(c * d)] += l2
    return np.asarray(hessian, np.float64)


def _softmax(z: NDArray[np.float64]) -> NDArray[np.float64]:
    e = np.exp(z - z.max(axis=1, keepdims=True))
    return np.asarray(e / e.sum(axis=1, keepdims=True), np.float64)
