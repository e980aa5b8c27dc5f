"""The signals' equations on any library that has NumPy's names for functions.

`xp` is that library: an array-API namespace, or ``keras.ops``. Its arrays come checked,
floating point and of one dtype. z are logits (..., C), and y labels of that shape, at
least 0, one-hot or soft; NaN where a sample has none.
"""

from __future__ import annotations

from typing import Any, TypeAlias

Array: TypeAlias = Any
"""An array of NumPy, PyTorch, JAX, CuPy, another array-API library or Keras."""


def inner_products(
    xp: Any, h: Array, g: Array, *, kept: int = 1, used: Array | None = None
) -> Array:
    """Return <h, g> over the axes behind the first `kept`, where `used` is True."""
    terms = h * g
    if used is not None:
        terms = xp.where(used, terms, xp.zeros_like(terms))
    return sum_features(xp, terms, kept)


def sum_features(xp: Any, array: Array, kept: int) -> Array:
    """Sum over all axes behind the first `kept`."""
    axes = tuple(range(kept, len(array.shape)))
    return xp.sum(array, axis=axes) if axes else array


def pre_activation(xp: Any, p: Array, g: Array, activation: str) -> tuple[Array, Array]:
    """Return z and dl/dz of outputs p = softmax(z) or sigmoid(z), from g = dl/dp."""
    # z is 0 where the activation is saturated, for dl/dz is 0 there.
    if activation == "softmax":
        z = xp.log(xp.where(p > 0, p, xp.ones_like(p)))
        return z, p * (g - xp.sum(p * g, axis=-1, keepdims=True))
    inside = xp.where((p > 0) & (p < 1), p, xp.full_like(p, 0.5))
    return xp.log(inside) - xp.log1p(-inside), g * p * (1 - p)


def one_hot(xp: Any, z: Array, index: Array, classes: Array) -> Array:
    """Return labels (B, C) like z; NaN where an index (B,) is none of the classes."""
    hot = classes[None, :] == index[:, None]
    y = xp.where(hot, xp.ones_like(z), xp.zeros_like(z))
    known = xp.any(hot, axis=-1)[:, None]
    return xp.where(known, y, xp.full_like(y, float("nan")))


def below_max_and_mean(xp: Any, z: Array) -> tuple[Array, Array]:
    """Return the logits below their maximum, and their mean under the softmax."""
    # The terms p_j - y_j sum to zero, so the maximum cancels in the result: what is
    # left does not overflow and loses no digits to a common offset of the logits.
    below = z - xp.max(z, axis=-1, keepdims=True)
    weight = xp.exp(below)
    # Of a class with the logit -inf: 0 times infinity would be NaN.
    terms = weight * xp.where(weight == 0, xp.zeros_like(below), below)
    return below, xp.sum(terms, axis=-1) / xp.sum(weight, axis=-1)


def log_softmax(xp: Any, z: Array) -> Array:
    """Return log p."""
    below = z - xp.max(z, axis=-1, keepdims=True)
    return below - xp.log(xp.sum(xp.exp(below), axis=-1, keepdims=True))


def label_products(xp: Any, z: Array, y: Array) -> Array:
    """Return <z, S p - y>, S the sum of y: the closed form at the logits."""
    below, mean = below_max_and_mean(xp, z)
    true = xp.sum(y * xp.where(y == 0, xp.zeros_like(below), below), axis=-1)
    return xp.sum(y, axis=-1) * mean - true


def loss(xp: Any, losses: Array) -> Array:
    """Return l_k."""
    del xp
    return losses


def mask_gradient(xp: Any, z: Array, y: Array) -> Array:
    """Return |<z, S p - y>|, S the sum of y."""
    return xp.abs(label_products(xp, z, y))


def el2n(xp: Any, z: Array, y: Array) -> Array:
    """Return |S p - y|, S the sum of y."""
    error = label_errors(xp, z, y)
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


def label_errors(xp: Any, z: Array, y: Array) -> Array:
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
