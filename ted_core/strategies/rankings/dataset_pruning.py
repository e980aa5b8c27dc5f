"""Dataset pruning: prune samples whose influences on the parameters cancel."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray

from ted_core._validation import check_bool, check_real
from ted_core.strategies.rankings._shared import (
    BLOCK,
    LastLayer,
    check_kept,
    divide,
    log_softmax,
    ranked,
)
from ted_core.typing import Floats, Ids, Scores

__all__ = ["dataset_pruning"]


def dataset_pruning(
    features: ArrayLike,
    logits: ArrayLike,
    labels: ArrayLike,
    *,
    count: int | None = None,
    bound: float | None = None,
    damping: float = 0.01,
    bias: bool = True,
    block: int = BLOCK,
    seed: int = 0,
) -> Scores:
    r"""Rank so that the pruned samples' influences sum to little, greedily.

    Leaving sample i out moves the last layer by ``v_i = H^-1 g_i / n`` with
    ``g = (p - y) (h, 1)'``. Each next sample to be pruned is the one with which
    ``|sum of v|`` over all pruned ones is the smallest.

    Parameters
    ----------
    features, logits, labels : array_like
        As of :func:`craig`.
    count : int, optional
        Samples that will be kept, in [1, n]; n - count, at most 2^24, are ranked.
    bound : float, optional
        In place of `count`: prune as many as go before ``|sum of v|`` exceeds it, all
        but one at most. At least 0.
    damping : float, default 0.01
        What is added to the diagonal of both factors of H, as a share of their mean
        eigenvalue; above 0.
    bias : bool, default True
        As of :func:`craig`.
    block : int, default 5000
        Larger data sets are divided at random into blocks of at most so many samples,
        each of which prunes its share by a sum of its own.
    seed : int, default 0
        Key of the blocks and of ties, in [0, 2^64).

    Returns
    -------
    ndarray of float32, shape (n,)
        0 for all that are kept and negative for the pruned ones, the lowest for the
        first of them; for :class:`ted_core.Static`.

    Raises
    ------
    ValueError, TypeError
        An array has another shape, is empty, is not real or not finite in float32, a
        number is out of range, or not one of `count` and `bound` is given.

    Notes
    -----
    H is the Hessian of the mean loss in the last layer as a Kronecker product, of the
    means of diag(p) - p p' and of (h, 1) (h, 1)'. O(n `block` (C + D) + D^3), and
    O(n C D) for `bound`; scratch space of two blocks of float64 pairs.

    References
    ----------
    S. Yang et al., Dataset pruning: reducing training data by examining
    generalization influence, ICLR 2023 (`count`: cardinality-guaranteed, `bound`:
    generalization-guaranteed). J. Martens, R. Grosse, Optimizing neural networks with
    Kronecker-factored approximate curvature, ICML 2015.
    A row of Tables 1 and 2 of J. Xiao, P. Li, J. Nie, TED, ECAI 2024.

    Examples
    --------
    >>> from ted_core.strategies.rankings import dataset_pruning
    >>> features, logits, labels = [[1.0], [1.0], [4.0]], [[0.0, 0.0]] * 3, [0, 1, 0]
    >>> dataset_pruning(features, logits, labels, count=1, bias=False).tolist()
    [-1.0, -2.0, 0.0]
    """
    if (count is None) == (bound is None):
        msg = f"one of `count` and `bound` must be given, got {count!r} and {bound!r}"
        raise ValueError(msg)
    layer = LastLayer(features, logits, labels, bias=check_bool("bias", bias))
    share = check_real("damping", damping, low=0, high=np.inf, closed="neither")
    limit = None if bound is None else check_real("bound", bound, low=0, high=np.inf)
    kept = check_kept(count, layer.n)
    influences = _Influences(layer, share)

    def order(ids: Ids, number: int) -> NDArray[np.intp]:
        return _least_sums(*influences(ids), number)

    parts = divide(layer.n, None, block=block, seed=seed)
    ranks = ranked(parts, layer.n - kept, order)
    if limit is not None:
        first = np.argsort(-ranks, kind="stable")[: layer.n - kept]
        ranks -= first.size - influences.within(first, limit)
    return np.float32(0) - np.maximum(ranks, 0)


class _Influences:
    """H^-1 g / n of samples, as outer products (C,) (D,)'."""

    def __init__(self, layer: LastLayer, damping: float) -> None:
        classes, width = layer.classes, layer.width
        outer, inner = np.zeros((classes, classes)), np.zeros((width, width))
        for part in layer.blocks(layer.n):
            p, h = np.exp(log_softmax(layer.logits[part])), layer.features(part)
            outer += np.diag(p.sum(axis=0)) - p.T @ p
            inner += h.T @ h
        self._layer = layer
        # A model that is sure of all samples has no curvature, and yet its errors.
        self._outer = _damped(outer / layer.n, damping, least=1e-12)
        self._inner = _damped(inner / layer.n, damping)

    def __call__(self, ids: Ids) -> tuple[Floats, Floats]:
        """Return both factors, shapes (m, C) and (m, D)."""
        outer = _solved(self._outer, self._layer.errors(ids) / self._layer.n)
        return outer, _solved(self._inner, self._layer.features(ids))

    def within(self, ids: Ids, bound: float) -> int:
        """Return how many of these come before their sum is longer than the bound."""
        total = np.zeros((self._layer.classes, self._layer.width))
        for part in self._layer.blocks(ids.size):
            for at, (a, b) in enumerate(zip(*self(ids[part]), strict=True)):
                total += np.outer(a, b)
                if np.linalg.norm(total) > bound:
                    return int(part.start) + at
        return ids.size


def _damped(matrix: Floats, damping: float, *, least: float = 0.0) -> Floats:
    mean = max(float(np.trace(matrix)) / len(matrix), least)
    return matrix + damping * (mean or 1.0) * np.eye(len(matrix))


def _solved(matrix: Floats, rows: Floats) -> Floats:
    return np.asarray(np.linalg.solve(matrix, rows.T).T, np.float64)


def _least_sums(outer: Floats, inner: Floats, number: int) -> NDArray[np.intp]:
    """Return the greedy order in which the sum of outer products stays the shortest."""
    products = outer @ outer.T
    products *= inner @ inner.T
    # |sum + v|^2 - |sum|^2 = |v|^2 + 2 <sum, v>
    longer = products.diagonal().copy()
    chosen = np.empty(number, np.intp)
    for step in range(number):
        at = int(longer.argmin())  # the first of equals, which is the highest hash
        longer += 2 * products[at]
        longer[at] = np.inf
        chosen[step] = at
    return chosen
