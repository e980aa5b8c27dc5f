"""Redundant-subset selection (Definition 3, Eq. 20) in O(n)."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator

import numpy as np
from numpy.typing import NDArray

from ted_core._validation import as_scores, check_int
from ted_core.selection.randomness import as_ids, tie_hash
from ted_core.typing import Ids, Scores, id_dtype

__all__ = [
    "CHUNK",
    "Bits",
    "highest_hashes",
    "median",
    "ordered_bits",
    "pieces",
    "redundant_subset",
    "thresholds",
    "top_ids",
    "upper_halves",
]

Bits = NDArray[np.uint32]


"""Numbers as unsigned integers of the same order."""


CHUNK = 1 << 17


"""Samples looked at together: few enough for a processor's cache."""


_HALF = np.uint32(16)


_TOP = np.uint32(1 << 31)


def pieces(n: int) -> Iterator[slice]:
    """Yield slices that cut [0, n) into pieces of :data:`CHUNK`.

    Parameters
    ----------
    n : int
        Samples.

    Yields
    ------
    slice
        One piece, ascending.

    Examples
    --------
    >>> from ted_core.selection.top_k import pieces
    >>> list(pieces(3))
    [slice(0, 3, None)]
    """
    for start in range(0, n, CHUNK):
        yield slice(start, min(start + CHUNK, n))


def ordered_bits(scores: Scores) -> Bits:
    """Return float32 numbers as unsigned integers of the same order.

    Parameters
    ----------
    scores : ndarray of float32, shape (m,)
        Not NaN.

    Returns
    -------
    ndarray of uint32, shape (m,)
        Equal where the numbers are: -0 is 0.

    Examples
    --------
    >>> import numpy as np
    >>> from ted_core.selection.top_k import ordered_bits
    >>> np.argsort(ordered_bits(np.float32([0.5, -1, np.inf, -2]))).tolist()
    [3, 1, 0, 2]
    """
    bits = (scores + np.float32(0)).view(np.uint32)
    # negative numbers below, in the reverse order of their bits
    flip = (bits.view(np.int32) >> np.int32(31)).view(np.uint32) | _TOP
    flip ^= bits
    return flip


def thresholds(
    rows: Callable[[], Iterable[tuple[Bits, ...]]], count: int
) -> list[np.uint32]:
    """Return the `count`-th highest number of each row.

    Parameters
    ----------
    rows : callable
        Yields the numbers piece by piece, one array for each row, shape (m,); called
        twice, for the same numbers.
    count : int
        At least 1, at most the numbers of a row.

    Returns
    -------
    list of uint32
        One for each row.

    Notes
    -----
    Two histograms, of the upper and of the lower 16 bits: O(n) whatever the numbers
    are, in half a megabyte a row.

    Examples
    --------
    >>> import numpy as np
    >>> from ted_core.selection.top_k import thresholds
    >>> pieces = [(np.uint32([5, 9]),), (np.uint32([7]),)]
    >>> int(thresholds(lambda: pieces, 2)[0])
    7
    """
    found = upper_halves(rows, count)
    lows = _histograms(
        [
            bits[(bits >> _HALF) == high] & np.uint32(0xFFFF)
            for bits, (high, _) in zip(piece, found, strict=True)
        ]
        for piece in rows()
    )
    return [
        np.uint32((high << 16) | _from_top(counts, left)[0])
        for counts, (high, left) in zip(lows, found, strict=True)
    ]


def upper_halves(
    rows: Callable[[], Iterable[tuple[Bits, ...]]], count: int
) -> list[tuple[int, int]]:
    """Return the upper 16 bits of the `count`-th highest number of each row.

    Parameters
    ----------
    rows : callable
        As for :func:`thresholds`; called once.
    count : int
        At least 1, at most the numbers of a row.

    Returns
    -------
    list of (int, int)
        For each row the bits, and the number's place among those that share them.

    Examples
    --------
    >>> import numpy as np
    >>> from ted_core.selection.top_k import upper_halves
    >>> upper_halves(lambda: [(np.uint32([5 << 16, 9 << 16]),)], 2)
    [(5, 1)]
    """
    counts = _histograms([bits >> _HALF for bits in piece] for piece in rows())
    return [_from_top(row, count) for row in counts]


def median(scores: Callable[[], Iterable[Scores]]) -> np.float32:
    """Return the median of float32 numbers.

    Parameters
    ----------
    scores : callable
        Yields the numbers piece by piece, none of them NaN; called again and again.

    Returns
    -------
    float32
        The median, of the two in the middle their mean; 0 if there are no numbers.

    Examples
    --------
    >>> import numpy as np
    >>> from ted_core.selection.top_k import median
    >>> float(median(lambda: [np.float32([1, 7]), np.float32([2])]))
    2.0
    """
    n = sum(piece.size for piece in scores())
    if n == 0:
        return np.float32(0)
    middle = np.array(
        [
            thresholds(lambda: ((ordered_bits(s),) for s in scores()), count)[0]
            for count in (n // 2 + 1, (n + 1) // 2)
        ]
    )
    values = np.where(middle & _TOP, middle ^ _TOP, ~middle).view(np.float32)
    return np.float32(values.mean(dtype=np.float64))


def _histograms(digits: Iterable[list[Bits]]) -> list[NDArray[np.int64]]:
    sums: list[NDArray[np.int64]] = []
    for piece in digits:
        counts = [np.bincount(row, minlength=1 << 16) for row in piece]
        sums = [a + b for a, b in zip(sums, counts, strict=True)] if sums else counts
    return sums


def _from_top(counts: NDArray[np.int64], count: int) -> tuple[int, int]:
    """Return the digit of the `count`-th highest, and its place among its equals."""
    above = np.cumsum(counts[::-1])
    place = int(np.searchsorted(above, count))
    before = int(above[place - 1]) if place else 0
    return counts.size - 1 - place, count - before


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


def highest_hashes(ids: Ids, count: int, *, seed: int = 0, epoch: int = 0) -> Ids:
    """Return the `count` ids of the highest hash: a uniform draw, the same anywhere.

    Parameters
    ----------
    ids : ndarray of int, shape (m,)
        Distinct sample ids, ascending.
    count : int
        Ids to draw, in [0, m].
    seed, epoch : int
        Key of :func:`tie_hash`.

    Returns
    -------
    ndarray of int, shape (count,)
        The drawn ids, ascending.

    Raises
    ------
    ValueError, TypeError
        `count` is out of range.

    Notes
    -----
    O(m), in constant scratch space: the threshold is that of the upper 32 bits of the
    hash, the few ids that share them are ordered by the rest.

    Examples
    --------
    >>> import numpy as np
    >>> from ted_core import highest_hashes
    >>> highest_hashes(np.arange(10), 10).tolist()
    [0, 1, 2, 3, 4, 5, 6, 7, 8, 9]
    """
    ids = as_ids(ids)
    count = check_int("count", count, minimum=0, maximum=ids.size)
    if count == ids.size:
        return ids.copy()
    if count == 0:
        return ids[:0].copy()

    def bits() -> Iterator[tuple[Bits]]:
        for part in pieces(ids.size):
            hashes = tie_hash(ids[part], seed=seed, epoch=epoch)
            yield ((hashes >> np.uint64(32)).astype(np.uint32),)

    (threshold,) = thresholds(bits, count)
    drawn, level = np.empty(count, ids.dtype), []
    filled = 0
    for part, (upper,) in zip(pieces(ids.size), bits(), strict=True):
        above = ids[part][upper > threshold]
        drawn[filled : filled + above.size] = above
        filled += above.size
        level.append(ids[part][upper == threshold])
    tied = np.concatenate(level)
    ranks = np.argsort(tie_hash(tied, seed=seed, epoch=epoch))
    drawn[filled:] = tied[ranks[tied.size - (count - filled) :]]
    drawn.sort(kind="stable")
    return drawn
