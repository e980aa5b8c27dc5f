"""How ranks that keep different numbers of samples stay in step."""

from __future__ import annotations

import numpy as np

from ted_core.typing import Ids

__all__ = ["MOST_VISITS", "rank_factor", "visits"]

MOST_VISITS = 255
"""How often an epoch may visit a sample: times seen are counted in 8 bits."""


def rank_factor(kept: int, kept_by_rank: tuple[int, ...]) -> float:
    r"""Return a rank's factor of the loss, which makes up for what it repeats.

    The mean over the R ranks of their mean losses, each times its factor k_r R / k, is
    the mean over all k kept samples, however they lie on the ranks.

    Parameters
    ----------
    kept : int
        Samples k_r that this rank keeps.
    kept_by_rank : tuple of int
        Samples that each rank keeps; none if there are no shards.

    Returns
    -------
    float
        1 without shards, or if all keep as many; more where a sample would have to be
        visited over 255 times and others of weight 0 fill the epoch.

    Examples
    --------
    >>> from ted_core.visits import rank_factor
    >>> rank_factor(6, (6, 2)), rank_factor(2, (6, 2))
    (1.5, 0.5)
    """
    if not kept or not kept_by_rank:
        return 1.0
    length = max(kept_by_rank)
    filled = length / min(length, MOST_VISITS * kept)
    return kept * len(kept_by_rank) / sum(kept_by_rank) * filled


def visits(order: Ids, length: int, n: int) -> Ids:
    """Return the ids that a rank visits in an epoch of `length` samples.

    Parameters
    ----------
    order : ndarray of int, shape (k,)
        Kept ids of this rank, in order; there may be none.
    length : int
        Samples of the rank that keeps most, at least k.
    n : int
        Samples of this rank.

    Returns
    -------
    ndarray of int, shape (length,)
        `order` again and again, each id 255 times at most; then pruned ids, which
        must weigh 0.

    Examples
    --------
    >>> import numpy as np
    >>> from ted_core.visits import visits
    >>> visits(np.array([4, 2]), 5, 6).tolist()
    [4, 2, 4, 2, 4]
    """
    if length == order.size:
        return order
    repeated: Ids = np.resize(order, min(length, MOST_VISITS * order.size))
    if repeated.size == length:
        return repeated
    pruned = np.ones(n, dtype=bool)
    pruned[order] = False
    rest = np.flatnonzero(pruned).astype(order.dtype)
    return np.concatenate([repeated, np.resize(rest, length - repeated.size)])
