"""Contextual diversity: cover the ways in which the model confuses classes."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray

from ted_core.strategies.rankings._shared import (
    BLOCK,
    check_count,
    check_labels,
    check_logits,
    divide,
    log_softmax,
    ranked,
)
from ted_core.typing import Floats, Ids, Scores

__all__ = ["contextual_diversity"]


def contextual_diversity(
    logits: ArrayLike,
    *,
    count: int,
    labels: ArrayLike | None = None,
    block: int = BLOCK,
    seed: int = 0,
) -> Scores:
    r"""Rank by k-centre greedy under the symmetric divergence of the softmax.

    Each next sample is the farthest from its nearest predecessor, by
    ``1/2 KL(p|q) + 1/2 KL(q|p)``.

    Parameters
    ----------
    logits, count : array_like of float, shape (n, C), and int
        As of :func:`craig`.
    labels : array_like of int, shape (n,), optional
        Class of each sample. With them every class is covered by itself, in proportion
        to its size; without, as in the paper, all samples are covered together.
    block, seed : int
        As of :func:`craig`; `seed` chooses the first sample of each block, too.

    Returns
    -------
    ndarray of float32, shape (n,)
        As of :func:`craig`, which refuses the same.

    Notes
    -----
    A picture that is classified as a whole is one of the paper's regions. Rankings of
    the same seed and another `count` begin alike.
    O(count `block` C), less where classes are smaller; scratch space O(`block` C).

    References
    ----------
    S. Agarwal et al., Contextual diversity for active learning, ECCV 2020, Sec. 3
    (CDAL-CS). O. Sener, S. Savarese, Active learning for convolutional neural
    networks: a core-set approach, ICLR 2018, Algorithm 1.
    A row of Tables 1 and 2 of J. Xiao, P. Li, J. Nie, TED, ECAI 2024.

    Examples
    --------
    >>> from ted_core.strategies.rankings import contextual_diversity
    >>> logits = [[9.0, 0.0], [9.0, 0.0], [0.0, 9.0], [0.0, 0.0]]
    >>> contextual_diversity(logits, count=3, seed=1).tolist()
    [0.0, 3.0, 2.0, 1.0]
    """
    z = check_logits("logits", logits)
    count = check_count(count, len(z))
    y = None if labels is None else check_labels("labels", labels, len(z))

    def order(ids: Ids, number: int) -> NDArray[np.intp]:
        return _farthest_first(log_softmax(z[ids]), number)

    return ranked(divide(len(z), y, block=block, seed=seed), count, order)


def _farthest_first(log_p: Floats, number: int) -> NDArray[np.intp]:
    p = np.exp(log_p)
    nearest = np.full(len(p), np.inf)
    chosen = np.empty(number, np.intp)
    for step in range(number):
        at = int(nearest.argmax())  # the first of equals, which is the highest hash
        # Twice the divergence; of the same softmax it is 0 to the last digit.
        away = ((p - p[at]) * (log_p - log_p[at])).sum(axis=1)
        np.minimum(nearest, away, out=nearest)
        nearest[at] = -1.0  # below all that are left
        chosen[step] = at
    return chosen
