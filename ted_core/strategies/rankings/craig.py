"""Craig: samples whose gradients stand for those of all the others."""

from __future__ import annotations

import heapq

import numpy as np
from numpy.typing import ArrayLike, NDArray

from ted_core._validation import check_bool
from ted_core.strategies.rankings._shared import (
    BLOCK,
    LastLayer,
    check_count,
    divide,
    ranked,
)
from ted_core.typing import Floats, Ids, Scores

__all__ = ["craig"]


def craig(
    features: ArrayLike,
    logits: ArrayLike,
    labels: ArrayLike,
    *,
    count: int,
    bias: bool = True,
    block: int = BLOCK,
    seed: int = 0,
) -> Scores:
    r"""Rank by greedy facility location over the gradients, in each class.

    Each next sample S lowers ``sum_i min_(j in S) |g_i - g_j|`` the most, where the
    sums are over a class and ``g = (p - y) (h, 1)'`` is the gradient in the last layer.

    Parameters
    ----------
    features : array_like of float, shape (n, D)
        Inputs h of the last layer, taken as float32.
    logits : array_like of float, shape (n, C)
        Its outputs, taken as float32.
    labels : array_like of int, shape (n,)
        Class indices in [0, C).
    count : int
        Samples to rank, in [1, n] and at most 2^24: as many as will be kept. Every
        class gives its share.
    bias : bool, default True
        Whether the last layer has a bias; without one the gradient is ``(p - y) h'``.
    block : int, default 5000
        Larger classes are divided at random into blocks of at most so many samples,
        each with its share.
    seed : int, default 0
        Key of the blocks and of ties, in [0, 2^64).

    Returns
    -------
    ndarray of float32, shape (n,)
        `count` for the first, 1 for the last, 0 for all that are not ranked; for
        :class:`ted_core.Static`.

    Raises
    ------
    ValueError, TypeError
        An array has another shape, is empty, is not real or not finite in float32, or a
        number is out of range.

    Notes
    -----
    The lazy form of the greedy algorithm: the same samples, few gains computed.
    Rankings of the same seed and another `count` begin alike. The paper's weights are
    not used. O(n `block` (C + D)), scratch space of three blocks of float64 pairs.

    References
    ----------
    B. Mirzasoleiman, J. Bilmes, J. Leskovec, Coresets for data-efficient training of
    machine learning models, ICML 2020, Eq. 8 and Algorithm 1.
    M. Minoux, Accelerated greedy algorithms for maximizing submodular set functions,
    1978.
    A row of Tables 1 and 2 of J. Xiao, P. Li, J. Nie, TED, ECAI 2024.

    Examples
    --------
    >>> from ted_core.strategies.rankings import craig
    >>> features = [[1.0], [1.1], [0.9], [5.0]]
    >>> logits = [[0.0, 0.0]] * 4
    >>> craig(features, logits, [0, 0, 0, 0], count=2).tolist()
    [0.0, 2.0, 0.0, 1.0]
    """
    layer = LastLayer(features, logits, labels, bias=check_bool("bias", bias))
    count = check_count(count, layer.n)

    def order(ids: Ids, number: int) -> NDArray[np.intp]:
        return _medoids(_distances(layer.errors(ids), layer.features(ids)), number)

    parts = divide(layer.n, layer.labels, block=block, seed=seed)
    return ranked(parts, count, order)


def _distances(errors: Floats, features: Floats) -> Floats:
    """Return |g_i - g_j| of outer products, whose inner products are products."""
    square = errors @ errors.T
    square *= features @ features.T
    own = square.diagonal().copy()
    square *= -2
    square += own[:, None]
    square += own
    np.fill_diagonal(square, 0.0)
    return np.sqrt(np.maximum(square, 0.0, out=square), out=square)


def _medoids(distances: Floats, number: int) -> NDArray[np.intp]:
    """Return the greedy order of facility location: largest gain, then the first."""
    # A gain can only fall as samples are chosen, by its rounded sum too: each entry is
    # no larger than before. So an old gain that is below a new one need not be renewed.
    covered = np.full(len(distances), distances.max())

    def gain(at: int) -> float:
        return float(np.maximum(covered - distances[at], 0.0).sum())

    bounds = [(-gain(at), at) for at in range(len(distances))]
    heapq.heapify(bounds)
    chosen = np.empty(number, np.intp)
    for step in range(number):
        while True:
            _, at = bounds[0]
            new = (-gain(at), at)
            heapq.heapreplace(bounds, new)
            if bounds[0] == new:
                break
        heapq.heappop(bounds)
        np.minimum(covered, distances[at], out=covered)
        chosen[step] = at
    return chosen
