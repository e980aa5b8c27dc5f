"""Selection over several ranks by radix: digits are counted, no score travels."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from ted_core.thresholds import ordered_bits
from ted_core.ties import tie_hash
from ted_core.typing import Ids, Scores

__all__ = ["AllSum", "median_of_all", "top_of_all"]

AllSum: TypeAlias = Callable[[NDArray[Any]], NDArray[Any]]
"""Adds arrays of one shape and dtype over the ranks; the same result on each."""

_BITS = 8
_DIGITS = 1 << _BITS


def top_of_all(  # noqa: PLR0917 - it has two callers
    keys: Scores | None, ids: Ids, count: int, seed: int, epoch: int, all_sum: AllSum
) -> NDArray[np.int64]:
    r"""Return which samples of this rank are among the `count` highest of all ranks.

    Parameters
    ----------
    keys : ndarray of float32, shape (m,), or None
        Key of each sample of this rank; ``inf`` ranks above all. None: all are equal.
    ids : ndarray of int, shape (m,)
        Their ids among the samples of all ranks, each on one rank.
    count : int
        Samples to choose from all ranks, at most as many as there are; the same on
        every rank.
    seed, epoch : int
        Key of the hash that orders equal keys.
    all_sum : callable
        Adds over the ranks; every rank takes part.

    Returns
    -------
    ndarray of int64
        Their places in `keys`, ascending: over all ranks exactly those that
        :func:`ted_core.top_ids` chooses from all keys at once.

    Raises
    ------
    ValueError
        On every rank: a key is NaN.

    Notes
    -----
    The digits of the key, then of the hash, 8 bits at a time from the highest, are
    counted over all ranks, and only the samples at the threshold go on. At most 12
    sums, 4 for the keys and 8 for the hash, of 2,056 bytes each. O(m).

    Examples
    --------
    >>> import numpy as np
    >>> from ted_core.radix import top_of_all
    >>> keys = np.float32([0.1, 0.9, 0.5, 0.7])
    >>> top_of_all(keys, np.arange(4), 2, 0, 0, all_sum=lambda array: array).tolist()
    [1, 3]
    """
    places = np.arange(ids.size)
    if count == 0:
        return places[:0]
    wrong = 0 if keys is None else int(np.isnan(keys).sum())
    chosen: list[NDArray[np.int64]] = []
    for word in _words(keys, ids, seed, epoch):
        digits_of = word(places)
        for shift in range(8 * digits_of.itemsize - _BITS, -1, -_BITS):
            digits = (digits_of >> digits_of.dtype.type(shift)).astype(np.uint8)
            digit, count, level = _threshold(digits, count, wrong, all_sum)
            chosen.append(places[np.flatnonzero(digits > digit)])
            level_at = np.flatnonzero(digits == digit)
            places, digits_of = places[level_at], digits_of[level_at]
            if count == level:
                return np.sort(np.concatenate([*chosen, places]), kind="stable")
    msg = f"`ids` must be distinct over all ranks, got {level} samples for {count}"
    raise ValueError(msg)


def _words(
    keys: Scores | None, ids: Ids, seed: int, epoch: int
) -> Iterator[Callable[[NDArray[np.int64]], NDArray[np.unsignedinteger[Any]]]]:
    """Yield what is compared, in turn: all keys, then the hashes at some places."""
    if keys is not None:
        yield lambda _: ordered_bits(keys)
    yield lambda places: tie_hash(ids[places], seed=seed, epoch=epoch)


def _threshold(
    digits: NDArray[np.uint8], count: int, wrong: int, all_sum: AllSum
) -> tuple[int, int, int]:
    """Return the digit at which `count` are reached, how many it gives and has."""
    counted = np.append(np.bincount(digits, minlength=_DIGITS), wrong)
    total = all_sum(counted.astype(np.int64))
    if total[_DIGITS]:
        msg = f"`keys` must not hold NaN, got {total[_DIGITS]}; rank such samples first"
        raise ValueError(msg)
    above = np.cumsum(total[_DIGITS - 1 :: -1])
    if above[-1] < count:
        msg = f"`count` must be at most the {above[-1]} samples of all, got {count}"
        raise ValueError(msg)
    index = int(np.searchsorted(above, count))
    digit = _DIGITS - 1 - index
    level = int(total[digit])
    return digit, count - int(above[index]) + level, level


def median_of_all(values: Scores, *, all_sum: AllSum) -> np.float32:
    """Return the median of the values of all ranks.

    Parameters
    ----------
    values : ndarray of float32, shape (m,)
        Values of this rank, not NaN; there may be none.
    all_sum : callable
        Adds over the ranks; every rank takes part.

    Returns
    -------
    float32
        What ``numpy.median`` gives for all values at once, in float64, rounded; 0 if
        there are none.

    Notes
    -----
    At most 8 sums of 2,056 bytes, and one of 8. O(m).

    Examples
    --------
    >>> import numpy as np
    >>> from ted_core.radix import median_of_all
    >>> float(median_of_all(np.float32([1, 5, 2]), all_sum=lambda array: array))
    2.0
    """
    n = int(all_sum(np.array([values.size]))[0])
    if n == 0:
        return np.float32(0)
    middle = [_highest(values, rank, all_sum) for rank in {n // 2 + 1, n - n // 2}]
    return np.float32(np.mean(middle))


def _highest(values: Scores, rank: int, all_sum: AllSum) -> float:
    """Return the value of a rank, 1 the highest."""
    bits, word = ordered_bits(values), 0
    for shift in range(32 - _BITS, -1, -_BITS):
        digits = (bits >> np.uint32(shift)).astype(np.uint8)
        digit, rank, _ = _threshold(digits, rank, 0, all_sum)
        bits, word = bits[digits == digit], word << _BITS | digit
    word = word ^ (1 << 31) if word >> 31 else ~word & (1 << 32) - 1
    return float(np.uint32(word).view(np.float32))
