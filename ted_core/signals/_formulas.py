"""The signals' equations on any library that has NumPy's names for functions.

`xp` is that library: an array-API namespace, or ``keras.ops``. z are logits (B, C), and
y labels (B, C), at least 0, one-hot or soft; NaN where a sample has none.
"""

from __future__ import annotations

from typing import Any, Literal

from ted_core.signals._arrays import (
    Array,
    as_floating,
    check_same_shape,
    namespace,
    quiet,
)

__all__ = [
    "el2n",
    "forgetting",
    "grand",
    "least_confidence",
    "logit_gradient_from_probabilities",
    "logits_from_probabilities",
    "loss",
    "margin",
    "mask_gradient",
]


def loss(xp: Any, losses: Array) -> Array:
    """Return l_k."""
    del xp
    return losses


def mask_gradient(xp: Any, z: Array, y: Array) -> Array:
    """Return |<z, S p - y>|, S the sum of y."""
    error = _error(xp, z, y)
    # The error sums to 0, so that the logits may be moved by their maximum.
    below = z - xp.max(z, axis=-1, keepdims=True)
    below = xp.where(error == 0, xp.zeros_like(below), below)
    return xp.abs(xp.sum(below * error, axis=-1))


def el2n(xp: Any, z: Array, y: Array) -> Array:
    """Return |S p - y|, S the sum of y."""
    error = _error(xp, z, y)
    # Solved samples have errors whose squares are none in float32.
    most = xp.max(xp.abs(error), axis=-1, keepdims=True)
    most = xp.where(most > 0, most, xp.ones_like(most))
    share = error / most
    return most[:, 0] * xp.sqrt(xp.sum(share * share, axis=-1))


def grand(xp: Any, z: Array, y: Array, h: Array, *, bias: bool = True) -> Array:
    """Return |S p - y| |(h, 1)|."""
    width = xp.sum(h * h, axis=-1) + (1.0 if bias else 0.0)
    return el2n(xp, z, y) * xp.sqrt(width)


def margin(xp: Any, z: Array) -> Array:
    """Return 1 - (p_(1) - p_(2))."""
    second, others = _below_the_best(xp, z)
    return second + others


def least_confidence(xp: Any, z: Array) -> Array:
    """Return 1 - p_(1)."""
    _, others = _below_the_best(xp, z)
    return others


def forgetting(xp: Any, z: Array, y: Array) -> Array:
    """Return 1 where a class of the largest label is above all others, else 0."""
    true = (y == xp.max(y, axis=-1, keepdims=True)) & (y > 0)
    lowest = xp.full_like(z, -float("inf"))
    best = xp.max(xp.where(true, z, lowest), axis=-1)
    rival = xp.max(xp.where(true, lowest, z), axis=-1)
    known = xp.any(true, axis=-1) & ~xp.any(xp.isnan(z), axis=-1)
    right = xp.where(best > rival, xp.ones_like(best), xp.zeros_like(best))
    return xp.where(known, right, xp.full_like(right, float("nan")))


def _error(xp: Any, z: Array, y: Array) -> Array:
    """Return S p - y; at the only class, -S (1 - p) summed from the others."""
    terms = xp.exp(z - xp.max(z, axis=-1, keepdims=True))
    mass = xp.sum(y, axis=-1, keepdims=True)
    only = y == mass
    others = xp.where(only, xp.zeros_like(terms), terms)
    share = others * (mass / xp.sum(terms, axis=-1, keepdims=True))
    missing = xp.zeros_like(share) - xp.sum(share, axis=-1, keepdims=True)
    return xp.where(only, missing, share - y)


def _below_the_best(xp: Any, z: Array) -> tuple[Array, Array]:
    """Return p_(2), and the sum of all p but p_(1), to full precision if tiny."""
    top = xp.max(z, axis=-1, keepdims=True)
    terms = xp.exp(z - top)
    total = xp.sum(terms, axis=-1)
    best = z == top
    others = xp.where(best, xp.zeros_like(terms), terms)
    counted = xp.where(best, xp.ones_like(terms), xp.zeros_like(terms))
    equals = xp.sum(counted, axis=-1) - 1.0
    second = xp.max(others, axis=-1)
    second = xp.where(equals > 0, xp.ones_like(second), second)
    return second / total, (xp.sum(others, axis=-1) + equals) / total


_Activation = Literal["softmax", "sigmoid"]


def logits_from_probabilities(
    probabilities: Array, *, activation: _Activation = "softmax"
) -> Array:
    r"""Return logits z that give `probabilities` (the site of Eq. 12 at the logits).

    ``z = log p`` for a softmax (the model's logits up to a constant for each sample,
    which no mask gradient sees) and ``z = log p - log(1 - p)`` for a sigmoid.

    Parameters
    ----------
    probabilities : array of floating point, shape (B, ..., C) or any for a sigmoid
        Outputs in [0, 1], classes last.
    activation : {"softmax", "sigmoid"}, default "softmax"
        What made the probabilities.

    Returns
    -------
    array of float32 or float64, shape of `probabilities`
        Finite logits: 0 counts as the smallest normal number, and 1 (of a sigmoid)
        as the number before it. Half precision returns float32.

    Raises
    ------
    TypeError
        `probabilities` is no array or not floating point.
    ValueError
        `activation` is unknown, or there is no class axis.

    Notes
    -----
    O(size of `probabilities`), elementwise, nothing read back from the device.
    Values outside [0, 1] are not looked for; above 1 they have no meaning.

    References
    ----------
    J. Xiao, P. Li, J. Nie, TED: Accelerate Model Training by Internal
    Generalization, ECAI 2024, Eq. 12.

    Examples
    --------
    >>> import numpy as np
    >>> from ted_core.signals._formulas import logits_from_probabilities
    >>> p = np.array([[0.25, 0.75]])
    >>> logits_from_probabilities(p).round(3).tolist()
    [[-1.386, -0.288]]
    >>> logits_from_probabilities(p, activation="sigmoid").round(3).tolist()
    [[-1.099, 1.099]]
    """
    softmax = _is_softmax(activation)
    p = as_floating("probabilities", probabilities, minimum_ndim=2 if softmax else 1)
    xp = namespace(probabilities=p)
    info = xp.finfo(p.dtype)
    smallest = xp.full_like(p, float(info.smallest_normal))
    p = xp.where(p < smallest, smallest, p)
    if softmax:
        return xp.log(p)
    largest = xp.full_like(p, 1 - float(info.eps) / 2)
    p = xp.where(p > largest, largest, p)
    return xp.log(p) - xp.log1p(-p)


def logit_gradient_from_probabilities(
    probabilities: Array, gradient: Array, *, activation: _Activation = "softmax"
) -> Array:
    r"""Return dl/dz from dl/dp, the gradient at the logits (for Eq. 12).

    ``p_j (g_j - <p, g>)`` for a softmax, ``g p (1 - p)`` for a sigmoid.

    Parameters
    ----------
    probabilities : array of floating point, shape (B, ..., C) or any for a sigmoid
        Outputs p in [0, 1], classes last.
    gradient : array of floating point, shape of `probabilities`
        Gradient g of the loss with respect to `probabilities`.
    activation : {"softmax", "sigmoid"}, default "softmax"
        What made the probabilities.

    Returns
    -------
    array of float32 or float64, shape of `probabilities`
        Gradient of the loss with respect to the logits; half precision returns
        float32.

    Raises
    ------
    TypeError
        An argument is no array, not floating point or of another library.
    ValueError
        Shapes do not match, `activation` is unknown, or there is no class axis.

    Notes
    -----
    O(size of `probabilities`), nothing read back from the device.

    References
    ----------
    J. Xiao, P. Li, J. Nie, TED: Accelerate Model Training by Internal
    Generalization, ECAI 2024, Eq. 12.

    Examples
    --------
    >>> import numpy as np
    >>> from ted_core.signals._formulas import logit_gradient_from_probabilities
    >>> p = np.array([[0.25, 0.75]])
    >>> gradient = np.array([[0.0, -1 / 0.75]])  # cross entropy of class 1
    >>> logit_gradient_from_probabilities(p, gradient).round(3).tolist()
    [[0.25, -0.25]]
    """
    softmax = _is_softmax(activation)
    ndim = 2 if softmax else 1
    p = as_floating("probabilities", probabilities, minimum_ndim=ndim)
    g = as_floating("gradient", gradient, minimum_ndim=ndim)
    xp = namespace(probabilities=p, gradient=g)
    check_same_shape("gradient", g, p.shape, "`probabilities`")
    with quiet(xp):
        if softmax:
            return p * (g - xp.sum(p * g, axis=-1, keepdims=True))
        return g * p * (1 - p)


def _is_softmax(activation: str) -> bool:
    if activation not in ("softmax", "sigmoid"):
        msg = f"`activation` must be 'softmax' or 'sigmoid', got {activation!r}"
        raise ValueError(msg)
    return activation == "softmax"
