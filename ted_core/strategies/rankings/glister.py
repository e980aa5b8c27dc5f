"""Glister: samples whose step lowers the loss of held-out samples."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray

from ted_core._validation import check_bool, check_int, check_real
from ted_core.strategies.rankings._shared import LastLayer, check_count, hash_order
from ted_core.typing import Floats, Scores

__all__ = ["glister"]

_HELD_OUT = ("held_out[0]", "held_out[1]", "held_out[2]")


def glister(
    features: ArrayLike,
    logits: ArrayLike,
    labels: ArrayLike,
    *,
    count: int,
    held_out: tuple[ArrayLike, ArrayLike, ArrayLike] | None = None,
    rate: float = 1.0,
    refreshes: int = 20,
    bias: bool = True,
    seed: int = 0,
) -> Scores:
    r"""Rank by what a sample's gradient step gains on held-out samples, greedily.

    Each next samples have the highest ``<V(theta_S), g>``: ``g = (p - y) (h, 1)'`` is
    a sample's gradient in the last layer, V the held-out samples' mean gradient there,
    and theta_S the layer after ``theta - rate / count sum_(S) g``.

    Parameters
    ----------
    features, logits, labels, count : array_like and int
        As of :func:`craig`.
    held_out : tuple of three array_like, optional
        Features (m, D), logits (m, C) and labels (m,) of other samples; the training
        samples themselves by default, as the paper allows.
    rate : float, default 1.0
        Learning rate of the one step with the mean gradient of all that are chosen,
        at least 0. At 0 the ranking is one sort.
    refreshes : int, default 20
        Times that V is computed, at least 1; between two of them count / `refreshes`
        samples are chosen. From `count` on each is chosen by a V of its own.
    bias, seed : bool and int
        As of :func:`craig`.

    Returns
    -------
    ndarray of float32, shape (n,)
        As of :func:`craig`, which refuses the same.

    Notes
    -----
    The gain is the first-order Taylor term of the fall of the held-out loss. Nothing
    keeps the classes balanced; ``Static(..., class_floor=)`` does.
    O(`refreshes` (n + m) (C D + log n)), scratch space of blocks of samples, 16 C
    bytes a held-out sample and 24 bytes a sample.

    References
    ----------
    K. Killamsetty, D. Sivasubramanian, G. Ramakrishnan, R. Iyer, GLISTER:
    generalization based data subset selection for efficient and robust learning,
    AAAI 2021 (greedy selection by Taylor approximation, in r rounds).
    A row of Tables 1 and 2 of J. Xiao, P. Li, J. Nie, TED, ECAI 2024.

    Examples
    --------
    >>> from ted_core.strategies.rankings import glister
    >>> features, logits = [[1.0], [2.0], [3.0]], [[0.0, 0.0]] * 3
    >>> held_out = [[1.0]], [[0.0, 0.0]], [1]
    >>> glister(features, logits, [0, 1, 1], count=2, held_out=held_out).tolist()
    [0.0, 1.0, 2.0]
    """
    with_bias = check_bool("bias", bias)
    layer = LastLayer(features, logits, labels, bias=with_bias)
    held = layer
    if held_out is not None:
        if not isinstance(held_out, tuple | list) or len(held_out) != len(_HELD_OUT):
            msg = (
                "`held_out` must be a tuple of features, logits and labels, got "
                f"{type(held_out).__name__}"
            )
            raise TypeError(msg)
        held = LastLayer(
            *held_out, bias=with_bias, names=_HELD_OUT, widths=layer.widths
        )
    count = check_count(count, layer.n)
    step = check_real("rate", rate, low=0, high=np.inf, closed="left") / count
    rounds = min(check_int("refreshes", refreshes, minimum=1), count)

    left = hash_order(layer.n, seed=seed)
    moved = np.zeros((layer.classes, layer.width))
    scores = np.zeros(layer.n, np.float32)
    for ranks in np.array_split(np.arange(count), rounds):
        gains = _products(layer, left, _slope(held, step * moved))
        best = np.argsort(-gains, kind="stable")[: ranks.size]
        chosen = left[best]
        left = np.delete(left, best)
        scores[chosen] = count - ranks
        for part in layer.blocks(chosen.size):
            some = chosen[part]
            moved += layer.errors(some).T @ layer.features(some)
    return scores


def _slope(held: LastLayer, moved: Floats) -> Floats:
    """Return the gradient of the mean held-out loss at theta - moved."""
    total = np.zeros_like(moved)
    for part in held.blocks(held.n):
        h = held.features(part)
        total += held.errors(part, held.logits[part] - h @ moved.T).T @ h
    total /= held.n
    return total


def _products(layer: LastLayer, ids: NDArray[np.int64], slope: Floats) -> Floats:
    """Return <slope, g> of some samples."""
    gains = np.empty(ids.size)
    for part in layer.blocks(ids.size):
        some = ids[part]
        gains[part] = ((layer.errors(some) @ slope) * layer.features(some)).sum(axis=1)
    return gains
