"""The IGD of single samples to second order, without retraining."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray

from ted_core.analysis._doors import check_real_array

__all__ = ["quadratic_igd"]


def quadratic_igd(gradients: ArrayLike, hessian: ArrayLike) -> NDArray[np.float64]:
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
    P. W. Koh, P. Liang, Understanding Black-box Predictions via Influence
    Functions, ICML 2017, Sec. 2; for the IGD of J. Xiao, P. Li, J. Nie, TED:
    Accelerate Model Training by Internal Generalization, ECAI 2024, Eq. 4.

    Examples
    --------
    >>> from ted_core.analysis import quadratic_igd
    >>> quadratic_igd([[2.0, 0.0], [-2.0, 0.0]], [[1.0, 0.0], [0.0, 2.0]]).tolist()
    [0.5, 0.5]
    """
    g, h = (
        check_real_array("gradients", gradients),
        check_real_array("hessian", hessian),
    )
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
