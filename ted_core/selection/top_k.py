"""Redundant-subset selection (Definition 3, Eq. 20) in O(n)."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ted_core._validation import as_scores, check_int
from ted_core.selection._randomness import as_ids, tie_hash
from ted_core.typing import Floats, Ids, Scores, id_dtype

__all__ = ["redundant_subset", "top_ids"]

_CHUNK = 1 << 17
_MAX_PACKED = 1 << 32  # ids that fit the lower half of a 64-bit word
_SIGN = np.uint32(1 << 31)


def pieces(n: int) -> Iterator[slice]:
    """Yield slices that divide [0, n) into pieces that fit a processor's cache."""
    for start in range(0, n, _CHUNK):
        yield slice(start, min(start + _CHUNK, n))


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
    ``numpy.partition`` finds the threshold, a hash decides among the scores that equal
    it. O(n), in scratch space of a copy of the scores and two masks, and 24 bytes for
    each tied sample. Source: TED, ECAI 2024, Definition 3, Eq. 20.

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
    if np.isnan(array).any():
        msg = "`scores` must not hold NaN, got NaN; rank such samples first"
        raise ValueError(msg)
    if count in {0, n}:
        return np.arange(count, dtype=id_dtype(n))
    threshold = np.partition(array, n - count)[n - count]
    kept = array > threshold
    tied = np.flatnonzero(array == threshold)
    missing = count - int(np.count_nonzero(kept))
    kept[highest_hashes(tied, missing, seed=seed, epoch=epoch)] = True
    return np.flatnonzero(kept).astype(id_dtype(n))


def redundant_subset(
    scores: Scores, count: int, *, seed: int = 0, epoch: int = 0
) -> Ids:
    r"""Return the ids of the `count` lowest scores, the redundant subset (Eq. 20).

    Parameters
    ----------
    scores, count, seed, epoch : ndarray of float32, shape (n,), and int
        As :func:`top_ids` takes and refuses them, `count` of the samples to prune.

    Returns
    -------
    ndarray of int32 or int64, shape (count,)
        Pruned ids, ascending: no pruned sample scores above a kept one.

    Notes
    -----
    The complement of :func:`top_ids`; O(n). Source: TED, ECAI 2024, Definition 3.

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


def highest_hashes(ids: Ids, count: int, *, seed: int = 0, epoch: int = 0) -> Ids:
    """Return the `count` of distinct ids with the highest hash, ascending."""
    ids = as_ids(ids)
    count = check_int("count", count, minimum=0, maximum=ids.size)
    if count in {0, ids.size}:
        return ids[:count].copy()
    hashes = tie_hash(ids, seed=seed, epoch=epoch)
    threshold = np.partition(hashes, ids.size - count)[ids.size - count]
    return np.sort(ids[hashes >= threshold])


def median(values: Scores) -> np.float32:
    """Return the median, 0 of no values; its mean of two can not overflow."""
    if values.size == 0:
        return np.float32(0)
    middle = [(values.size - 1) // 2, values.size // 2]
    return np.float32(np.partition(values, middle)[middle].mean(dtype=np.float64))


def mid_ranks(scores: Scores) -> Iterator[tuple[Ids, Floats]]:
    """Yield ids and (#below + #equal / 2) / n of each score, of which -inf is none."""
    order, ordered = _sorted(scores)
    n = scores.size
    is_bound = np.ones(n + 1, dtype=bool)  # of the runs of equal scores
    np.not_equal(ordered[1:], ordered[:-1], out=is_bound[1:-1])
    stop = low = int(np.count_nonzero(scores == -np.inf))
    while stop < n:
        start, stop = stop, min(stop + _CHUNK, n)
        stop += int(is_bound[stop:].argmax())  # a run is not divided
        bound = np.flatnonzero(is_bound[start : stop + 1]) + (start - low)
        ranks = (bound[1:] + bound[:-1]) / (2 * (n - low))
        yield order[start:stop], np.repeat(ranks, np.diff(bound))


def _sorted(scores: Scores) -> tuple[Ids, NDArray[Any]]:
    """Return the ids from the lowest score up, and their scores or bits of these."""
    n = scores.size
    if n > _MAX_PACKED:
        order: Ids = np.argsort(scores)
        return order, scores[order]
    # One sort of integers, a score's bits above and its id below: NumPy sorts
    # 10^7 of them in a tenth of the time that its argsort of floats takes.
    words = np.empty(n, "<u8")
    for part in pieces(n):
        bits = ordered_bits(scores[part]).astype(np.uint64)
        ids = np.arange(part.start, part.stop, dtype=np.uint64)
        words[part] = bits << np.uint64(32) | ids
    words.sort()
    halves = words.view("<u4")
    return halves[::2], halves[1::2]


def ordered_bits(scores: Scores) -> NDArray[np.uint32]:
    """Return float32 numbers as integers of the same order; -0 equals 0, NaN none."""
    bits = (scores + np.float32(0)).view(np.uint32)
    # Negative numbers go below, in the reverse order of their bits.
    flip = (bits.view(np.int32) >> np.int32(31)).view(np.uint32) | _SIGN
    flip ^= bits
    return flip
