"""The count-th highest of many numbers, from pieces of them and in little memory."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator

import numpy as np
from numpy.typing import NDArray

from ted_core.typing import Scores

__all__ = [
    "CHUNK",
    "Bits",
    "median",
    "ordered_bits",
    "pieces",
    "thresholds",
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
    >>> from ted_core.thresholds import pieces
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
    >>> from ted_core.thresholds import ordered_bits
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
    >>> from ted_core.thresholds import thresholds
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
    >>> from ted_core.thresholds import upper_halves
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
    >>> from ted_core.thresholds import median
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
