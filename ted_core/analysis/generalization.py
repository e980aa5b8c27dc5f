"""Internal generalization (Eq. 3) and its distance (Eq. 4).

The distance comes from retraining without the samples, exactly for softmax regression,
or to second order from their influence on the minimiser.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import TypeVar

import numpy as np
from numpy.typing import ArrayLike, NDArray

from ted_core._validation import (
    as_array,
    check_broadcast,
    check_ids,
    check_int,
    check_real,
    check_real_array,
    check_shape,
)
from ted_core.signals import _formulas
from ted_core.typing import Floats

__all__ = [
    "fit_logistic",
    "internal_generalization",
    "internal_generalization_distance",
    "leave_one_out_igd",
    "logistic_objective",
    "quadratic_igd",
    "retrained_igd",
]

_MAX_STEPS = 200  # of Newton's method
_Parameters = TypeVar("_Parameters")


def internal_generalization(loss_first: ArrayLike, loss_last: ArrayLike) -> Floats:
    r"""Return IG = L(D, theta_T) - L(D, theta_1) (Eq. 3).

    Parameters
    ----------
    loss_first : array_like of float, shape (...)
        L(D, theta_1), the loss on all of the data before training on a part of it.
    loss_last : array_like of float, shape (...)
        L(D, theta_T), the same loss after it; broadcast against `loss_first`.

    Returns
    -------
    ndarray of float64, shape (...)
        IG; negative where training on the part lowered the loss on the whole.

    Raises
    ------
    ValueError, TypeError
        A loss is not finite or not real, or the shapes do not broadcast.

    Examples
    --------
    >>> from ted_core.analysis import internal_generalization
    >>> internal_generalization(2.25, [0.5, 2.5]).tolist()
    [-1.75, 0.25]
    """
    last = check_real_array("loss_last", loss_last)
    first = check_real_array("loss_first", loss_first)
    check_broadcast(loss_last=last, loss_first=first)
    return np.asarray(last - first)


def internal_generalization_distance(
    loss_without: ArrayLike, loss_full: ArrayLike
) -> Floats:
    r"""Return IGD = L(D, theta_without) - L(D, theta_full) (Eq. 4).

    Parameters
    ----------
    loss_without : array_like of float, shape (...)
        L on all of the data, at the minimiser of L on the data without the samples.
    loss_full : array_like of float, shape (...)
        L on all of the data, at its own minimiser; broadcast against the other.

    Returns
    -------
    ndarray of float64, shape (...)
        IGD; high means that the samples are missed.

    Raises
    ------
    ValueError, TypeError
        A loss is not finite or not real, or the shapes do not broadcast.

    Notes
    -----
    With L the minimised objective, its regulariser included, IGD >= 0. With another L,
    or an optimiser that stops early, it may be negative.

    Examples
    --------
    >>> from ted_core.analysis import internal_generalization_distance
    >>> internal_generalization_distance([0.5, 0.75], 0.25).tolist()
    [0.25, 0.5]
    """
    without = check_real_array("loss_without", loss_without)
    full = check_real_array("loss_full", loss_full)
    check_broadcast(loss_without=without, loss_full=full)
    return np.asarray(without - full)


def retrained_igd(
    fit: Callable[[NDArray[np.int64]], _Parameters],
    objective: Callable[[_Parameters], float],
    n: int,
    subsets: Iterable[ArrayLike],
) -> Floats:
    r"""Return the IGD of each pruned subset, by retraining without it (Eq. 4).

    Parameters
    ----------
    fit : callable
        Takes sorted ids, ndarray of int64, and returns the minimiser of the objective
        on these samples alone.
    objective : callable
        Takes such parameters and returns L(D, theta) on all n samples: what `fit`
        minimises, its regulariser included.
    n : int
        Samples in the data set, at least 2.
    subsets : iterable of array_like of int, each of shape (m,)
        Ids to prune; repeated ids count once, and one sample has to remain.

    Returns
    -------
    ndarray of float64, shape (len(subsets),)
        IGD of each subset, >= 0 to the precision of `fit`; 0 for an empty one.

    Raises
    ------
    ValueError, TypeError
        `n` or ids are out of range, a subset holds every sample, or `objective`
        returned something other than a finite number.

    Notes
    -----
    One fit a subset and one for all of the data: start `fit` from a known solution.

    Examples
    --------
    >>> import numpy as np
    >>> from ted_core.analysis import retrained_igd
    >>> x = np.array([0.0, 0.0, 3.0, 5.0])
    >>> fit = lambda ids: x[ids].mean()
    >>> objective = lambda theta: ((x - theta) ** 2).mean()
    >>> retrained_igd(fit, objective, 4, [[2], [0, 1]]).round(3).tolist()
    [0.111, 4.0]
    """
    n = check_int("n", n, minimum=2)
    everyone = np.arange(n, dtype=np.int64)
    full = objective(fit(everyone))
    without = []
    for subset in subsets:
        kept = np.delete(everyone, check_ids("subsets", subset, n))
        if kept.size == 0:
            msg = f"`subsets` must leave a sample to train on, got one of all {n}"
            raise ValueError(msg)
        without.append(objective(fit(kept)))
    return internal_generalization_distance(np.array(without, float), full)


def leave_one_out_igd(
    fit: Callable[[NDArray[np.int64]], _Parameters],
    objective: Callable[[_Parameters], float],
    n: int,
    *,
    ids: ArrayLike | None = None,
) -> Floats:
    r"""Return the IGD of single samples, by retraining without each (Eqs. 4 and 9).

    Parameters
    ----------
    fit, objective, n : callable, callable and int
        As :func:`retrained_igd` takes and refuses them.
    ids : array_like of int, shape (m,), optional
        Samples to leave out, one at a time; all of them by default.

    Returns
    -------
    ndarray of float64, shape (m,)
        IGD of each sample, >= 0 to the precision of `fit`; the lowest is the
        paper's redundant sample (Definition 2).

    Notes
    -----
    m + 1 fits; `quadratic_igd` needs one.

    Examples
    --------
    >>> import numpy as np
    >>> from ted_core.analysis import leave_one_out_igd
    >>> x = np.array([0.0, 0.0, 3.0, 5.0])
    >>> fit = lambda ids: x[ids].mean()
    >>> objective = lambda theta: ((x - theta) ** 2).mean()
    >>> leave_one_out_igd(fit, objective, 4).round(3).tolist()
    [0.444, 0.444, 0.111, 1.0]
    """
    n = check_int("n", n, minimum=2)
    out = np.arange(n) if ids is None else check_ids("ids", ids, n)
    return retrained_igd(fit, objective, n, out[:, None])


def quadratic_igd(gradients: ArrayLike, hessian: ArrayLike) -> Floats:
    r"""Return 1/2 g_k' H^-1 g_k / n^2, the IGD of each sample to second order.

    Parameters
    ----------
    gradients : array_like of float, shape (n, p)
        g_k, gradient of each sample's loss at the minimiser of their mean.
    hessian : array_like of float, shape (p, p)
        H, symmetric and positive definite: Hessian of the mean loss there.

    Returns
    -------
    ndarray of float64, shape (n,)
        Approximate leave-one-out IGD, >= 0.

    Raises
    ------
    ValueError, TypeError
        Shapes do not fit, a number is not finite or not real, or `hessian` is not
        positive definite.

    Notes
    -----
    Leaving z_k out moves the minimiser by H^-1 g_k / n, and L is flat at its
    minimum: the first-order term is 0 and this one leads. O(p^3 + n p^2).

    References
    ----------
    P. W. Koh, P. Liang, Understanding black-box predictions via influence functions,
    ICML 2017, Sec. 2; for the IGD of TED, ECAI 2024, Eq. 4.

    Examples
    --------
    >>> from ted_core.analysis import quadratic_igd
    >>> quadratic_igd([[2.0, 0.0], [-2.0, 0.0]], [[1.0, 0.0], [0.0, 2.0]]).tolist()
    [0.5, 0.5]
    """
    g = check_real_array("gradients", gradients)
    h = check_real_array("hessian", hessian)
    if g.ndim != 2 or len(g) == 0:  # noqa: PLR2004 - samples and parameters
        msg = f"`gradients` must have shape (n, p) with n >= 1, got shape {g.shape}"
        raise ValueError(msg)
    n, p = g.shape
    if h.shape != (p, p):
        msg = f"`hessian` must have shape ({p}, {p}) like `gradients`, got {h.shape}"
        raise ValueError(msg)
    try:
        half = np.linalg.solve(np.linalg.cholesky(h), g.T)
    except np.linalg.LinAlgError:
        msg = "`hessian` must be positive definite, got one that is not; regularise"
        raise ValueError(msg) from None
    return np.asarray(np.square(half).sum(axis=0) / (2 * n**2), np.float64)


def logistic_losses(theta: Floats, x: ArrayLike, y: ArrayLike) -> Floats:
    """Return each sample's cross entropy, shape (n,), without the regulariser."""
    xs, ys = _check_labelled(x, y)
    log_p = _formulas.log_softmax(np, xs @ theta.T)
    return np.asarray(-log_p[np.arange(len(ys)), ys], np.float64)


def logistic_objective(
    theta: Floats, x: ArrayLike, y: ArrayLike, *, l2: float
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
    theta: Floats, x: Floats, y: NDArray[np.int64], *, l2: float
) -> Floats:
    """Return g_k, gradient of each sample's share of the objective, (n, classes d)."""
    residual = np.exp(_formulas.log_softmax(np, x @ theta.T))
    residual[np.arange(len(y)), y] -= 1
    data = residual[:, :, None] * x[:, None, :]
    return np.asarray((data + l2 * theta).reshape(len(x), -1), np.float64)


def logistic_hessian(theta: Floats, x: Floats, *, l2: float) -> Floats:
    """Return H, the Hessian of the objective, shape (classes d, classes d)."""
    (n, d), c = x.shape, len(theta)
    p = np.exp(_formulas.log_softmax(np, x @ theta.T))
    weighted = (p[:, :, None] * x[:, None, :]).reshape(n, c * d)
    hessian = weighted.T @ weighted / -n
    for j in range(c):  # the diagonal blocks have p_j (1 - p_j)
        block = slice(j * d, (j + 1) * d)
        hessian[block, block] += weighted[:, block].T @ x / n
    hessian[np.diag_indices(c * d)] += l2
    return np.asarray(hessian, np.float64)


def fit_logistic(
    x: ArrayLike,
    y: ArrayLike,
    *,
    l2: float,
    classes: int | None = None,
    start: Floats | None = None,
    tolerance: float = 1e-12,
) -> Floats:
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
    xs, ys = _check_labelled(x, y)
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


def _check_labelled(x: object, y: object) -> tuple[Floats, NDArray[np.int64]]:
    """Return inputs (n, d) and class indices (n,), or say what is wrong."""
    xs = check_real_array("x", x)
    ys = as_array("y", y)
    if xs.ndim != 2 or 0 in xs.shape:  # noqa: PLR2004 - samples and features
        msg = f"`x` must have shape (n, d) with n, d >= 1, got shape {xs.shape}"
        raise ValueError(msg)
    if ys.dtype.kind not in "iu":
        msg = f"`y` must hold class indices, got dtype {ys.dtype}"
        raise TypeError(msg)
    if ys.shape != xs.shape[:1] or ys.min() < 0:
        msg = (
            f"`y` must have shape {xs.shape[:1]} and no negative index, got shape "
            f"{ys.shape}"
        )
        raise ValueError(msg)
    return xs, ys.astype(np.int64)
