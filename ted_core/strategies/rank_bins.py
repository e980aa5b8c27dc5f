"""Where scores stand among all of them: bounds for each, exactly for a few."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from ted_core.thresholds import Bits, ordered_bits, pieces
from ted_core.typing import Scores

__all__ = ["RankBins"]

_MOST_BINS = 1 << 20
_INFINITE = ordered_bits(np.array([np.inf], np.float32))[0]


class RankBins:
    r"""A histogram of the finite scores, and what it tells of their mid-ranks.

    Parameters
    ----------
    scores : ndarray of float32, shape (n,)
        Not NaN; ``inf`` has a bin of its own, the last, and no rank.

    Notes
    -----
    O(n); at most 2^20 bins, 50 bytes each, of equal width in the ordered bits of the
    scores. A bin that holds one number, however often, is known to.

    Examples
    --------
    >>> import numpy as np
    >>> from ted_core.strategies.rank_bins import RankBins
    >>> scores = np.float32([0.5, 7.0, 0.5, -1.0])
    >>> ranks = RankBins(scores)
    >>> least, most = ranks.bounds()
    >>> least[ranks.bins(scores)].tolist()
    [0.5, 0.875, 0.5, 0.125]
    """

    def __init__(self, scores: Scores) -> None:
        self._scores = scores
        self._low, high = self._range()
        wanted = min(_MOST_BINS, 1 << max(8, scores.size.bit_length() - 5))
        width = high - self._low
        self._shift = max(0, width.bit_length() - wanted.bit_length() + 1)
        self._last = (width >> self._shift) + 1
        counts, self._mixed = self._count()
        counts[self._last] = 0
        self._below = np.cumsum(counts) - counts
        self._ranked = max(int(counts.sum()), 1)
        self._counts = counts

    def bounds(self) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Return the least and the greatest mid-rank that each bin may hold.

        Returns
        -------
        least : ndarray of float64, shape (bins,)
            Of each bin.
        most : ndarray of float64, shape (bins,)
            Equal where a bin holds one number.
        """
        middle = self._below + np.maximum(self._counts, 1) / 2
        spread = np.where(self._mixed, (self._counts - 1) / 2, 0.0)
        return (middle - spread) / self._ranked, (middle + spread) / self._ranked

    def bins(self, scores: Scores) -> NDArray[np.intp]:
        """Return the bin of each score.

        Parameters
        ----------
        scores : ndarray of float32, shape (m,)
            Some of the scores.

        Returns
        -------
        ndarray of int, shape (m,)
            Ascending with the score.
        """
        return self._bins(ordered_bits(scores))

    def exact(self, scores: Scores) -> NDArray[np.float64]:
        """Return the mid-rank of each score, (#below + #equal / 2) / n.

        Parameters
        ----------
        scores : ndarray of float32, shape (m,)
            Some of the scores, finite.

        Returns
        -------
        ndarray of float64, shape (m,)
            As :func:`mid_ranks` gives them.

        Notes
        -----
        O(n + k log k), 4 bytes each of the k scores that share a bin with one of
        `scores`.
        """
        bits = ordered_bits(scores)
        bins = self._bins(bits)
        asked = np.zeros(self._last + 1, dtype=bool)
        asked[bins] = True
        asked &= self._mixed
        near = []
        for part in pieces(self._scores.size):
            others = ordered_bits(self._scores[part])
            near.append(others[asked[self._bins(others)]])
        beside = np.concatenate(near)
        del near
        beside.sort()
        left = np.searchsorted(beside, bits, "left")
        equal = np.searchsorted(beside, bits, "right") - left
        counts = np.where(asked, self._counts, 0)
        first = self._below[bins] + left - (np.cumsum(counts) - counts)[bins]
        ranks = (first + equal / 2) / self._ranked
        middle = (self._below[bins] + self._counts[bins] / 2) / self._ranked
        return np.where(self._mixed[bins], ranks, middle)

    def _range(self) -> tuple[int, int]:
        """Return the least and the greatest finite score, as bits."""
        low, high = int(_INFINITE), 0
        for part in pieces(self._scores.size):
            bits = ordered_bits(self._scores[part])
            finite = bits[bits != _INFINITE]
            if finite.size:
                low, high = min(low, int(finite.min())), max(high, int(finite.max()))
        return low, max(low, high)

    def _bins(self, bits: Bits) -> NDArray[np.intp]:
        bins = ((bits - np.uint32(self._low)) >> np.uint32(self._shift)).astype(np.intp)
        bins[bits == _INFINITE] = self._last
        return bins

    def _count(self) -> tuple[NDArray[np.int64], NDArray[np.bool_]]:
        """Return how many scores each bin holds, and whether they differ."""
        counts = np.zeros(self._last + 1, np.int64)
        one = np.zeros(self._last + 1, np.uint32)
        for part in pieces(self._scores.size):
            bits = ordered_bits(self._scores[part])
            bins = self._bins(bits)
            np.add.at(counts, bins, np.int64(1))
            one[bins] = bits
        mixed = np.zeros(self._last + 1, dtype=bool)
        if self._shift:
            for part in pieces(self._scores.size):
                bits = ordered_bits(self._scores[part])
                bins = self._bins(bits)
                mixed[bins[one[bins] != bits]] = True
        return counts, mixed
