"""The importance of a sample in the paper's letters: slow, float64, loops.

Equation 12 by a vector of masks delta, one a sample, and the limit in lambda by a
central difference; cross entropy and inner products by explicit loops.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

__all__ = ["cross_entropy", "delta_derivative", "inner_products", "segment_products"]

Array = NDArray[np.float64]


def delta_derivative(
    L: Callable[[Array], float],  # noqa: N803
    n: int,
    *,
    lam: float = 1e-5,
) -> Array:
    """Return dL/d delta_k at delta = 1 for each of the n samples (inside of Eq. 12)."""
    derivative = np.empty(n)
    for k in range(n):
        up, down = np.ones(n), np.ones(n)
        up[k] += lam
        down[k] -= lam
        derivative[k] = (L(up) - L(down)) / (2 * lam)
    return derivative


def inner_products(h: Array, g: Array) -> Array:
    """Return <h_k, g_k> for each sample k, one product after the other."""
    return np.array(
        [
            math.fsum(
                float(a) * float(b)
                for a, b in zip(np.ravel(h[k]), np.ravel(g[k]), strict=True)
            )
            for k in range(len(h))
        ]
    )


def segment_products(
    h: Array,
    g: Array,
    ids: NDArray[np.int64],
    S: int,  # noqa: N803
) -> Array:
    """Return the sum of <h_bt, g_bt> over the tokens of each segment."""
    total = np.zeros(S)
    for b, t in np.ndindex(ids.shape):
        if 0 <= ids[b, t] < S:
            total[ids[b, t]] += inner_products(h[b, t][None], g[b, t][None])[0]
    return total


def cross_entropy(z: Array, y: Array, valid: NDArray[np.bool_]) -> float:
    """Return the summed loss of the samples z (n, T, C) with soft labels y.

    A sample's loss is the mean over its valid tokens, 0 without any.
    """
    total = 0.0
    for k in range(len(z)):
        losses = []
        for t in range(z.shape[1]):
            if not valid[k, t]:
                continue
            top = max(z[k, t])
            log_sum = top + math.log(math.fsum(math.exp(a - top) for a in z[k, t]))
            losses.append(
                math.fsum(
                    b * (log_sum - a) for a, b in zip(z[k, t], y[k, t], strict=True)
                )
            )
        total += math.fsum(losses) / len(losses) if losses else 0.0
    return total
