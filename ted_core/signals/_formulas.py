"""The signals' equations on any library that has NumPy's names for functions.

`xp` is that library: an array-API namespace, or ``keras.ops``. z are logits (B, C), and
y labels (B, C), at least 0, one-hot or soft; NaN where a sample has none.
"""

from __future__ import annotations

from typing import Any

from ted_core._arrays import Array

__all__ = [
    "el2n",
    "forgetting",
    "grand",
    "least_confidence",
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
