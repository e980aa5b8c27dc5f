"""Redundant-subset selection (Definition 3, Eq. 20) in O(n)."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from ted_core._checks import as_scores, check_int
from ted_core.counts import id_dtype
from ted_core.thresholds import Bits, ordered_bits, pieces, thresholds
from ted_core.ties import highest_hashes
from ted_core.typing import Ids, Scores

__all__ = ["redundant_subset", "top_ids"]


def top_ids(scores: Scores, count: int, *, seed: int = 0, epoch: int = 0) -> Ids:
    r"""Return the ids of the `count` highest scores: the non-redundant subset.

    Parameters
    ----------
    scores : ndarray of float32, shape (n,)
        Score of each sample; ``inf`` ranks a sample above all others.
    count : int
        Samples to keep, in [0, n].
    seed, epoch : int
        Key of the hash that orders equal scores.

    Returns
    -------
    ndarray of int32 or int64, shape (count,)
        Kept ids, ascending.

    Raises
    ------
    ValueError, TypeError
        `scores` is not one-dimensional or holds NaN, or `count` is out of range.

    Notes
    -----
    A few passes over the scores: O(n), in constant scratch space beside the ids that
    tie at the threshold, 8 bytes each.

    References
    ----------
    J. Xiao, P. Li, J. Nie, TED: Accelerate Model Training by Internal
    Generalization, ECAI 2024, Definition 3, Eq. 20.

    Examples
    --------
    >>> import numpy as np
    >>> from ted_core import top_ids
    >>> top_ids(np.float32([0.1, 0.9, 0.5, 0.7]), 2).tolist()
    [1, 3]
    """
    array = as_scores("scores", scores)
    if array.ndim != 1:
        msg = f"`scores` must have shape (n,), got shape {array.shape}"
        raise ValueError(msg)
    n = array.size
    count = check_int("count", count, minimum=0, maximum=n)
    dtype = id_dtype(n)
    if count == n:
        _refuse_nan(array)
        everything: Ids = np.arange(n, dtype=dtype)
        return everything
    if count == 0:
        _refuse_nan(array)
        return np.empty(0, dtype)
    (threshold,) = thresholds(lambda: _bits(array), count)
    kept, tied = np.empty(count, dtype), []
    filled = 0
    for part, (bits,) in zip(pieces(n), _bits(array), strict=True):
        above = np.flatnonzero(bits > threshold)
        kept[filled : filled + above.size] = above + part.start
        filled += above.size
        tied.append((np.flatnonzero(bits == threshold) + part.start).astype(dtype))
    level = np.concatenate(tied)
    del tied
    kept[filled:] = highest_hashes(level, count - filled, seed=seed, epoch=epoch)
    kept.sort(kind="stable")
    return kept


def redundant_subset(
    scores: Scores, count: int, *, seed: int = 0, epoch: int = 0
) -> Ids:
    r"""Return the ids of the `count` lowest scores, the redundant subset (Eq. 20).

    Parameters
    ----------
    scores : ndarray of float32, shape (n,)
        Score of each sample.
    count : int
        Samples to prune, in [0, n].
    seed, epoch : int
        Key of the hash that orders equal scores.

    Returns
    -------
    ndarray of int32 or int64, shape (count,)
        Pruned ids, ascending: no pruned sample scores above a kept one.

    Raises
    ------
    ValueError, TypeError
        `scores` is not one-dimensional or holds NaN, or `count` is out of range.

    Notes
    -----
    The complement of :func:`top_ids`; O(n).

    References
    ----------
    J. Xiao, P. Li, J. Nie, TED: Accelerate Model Training by Internal
    Generalization, ECAI 2024, Definition 3, Eq. 20.

    Examples
    --------
    >>> import numpy as np
    >>> from ted_core import redundant_subset
    >>> redundant_subset(np.float32([0.1, 0.9, 0.5, 0.7]), 2).tolist()
    [0, 2]
    """
    n = as_scores("scores", scores).size
    count = check_int("count", count, minimum=0, maximum=n)
    pruned = np.ones(n, dtype=bool)
    pruned[top_ids(scores, n - count, seed=seed, epoch=epoch)] = False
    return np.flatnonzero(pruned).astype(id_dtype(n))


def _bits(scores: Scores) -> Iterator[tuple[Bits]]:
    """Yield the scores as ordered integers, piece by piece."""
    for part in pieces(scores.size):
        _refuse_nan(scores[part])
        yield (ordered_bits(scores[part]),)


def _refuse_nan(scores: Scores) -> None:
    if np.isnan(scores).any():
        msg = "`scores` must not hold NaN, got NaN; rank such samples first"
        raise ValueError(msg)
