"""The buffer of one open epoch: sum of values and times seen of each sample."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from ted_core._checks import as_array, check_ids, check_values
from ted_core.errors import EpochError
from ted_core.thresholds import pieces
from ted_core.typing import Scores

__all__ = ["EpochBuffer", "EpochCounts"]

_CHUNK = 1 << 18
_MOST_SEEN = np.iinfo(np.uint8).max


@dataclass(frozen=True)
class EpochCounts:
    """What one epoch brought, counted.

    Parameters
    ----------
    observed : int
        Observations, repeats included: the samples forwarded.
    distinct : int
        Samples observed at least once.
    nonfinite : int
        Samples whose value of the epoch was not finite, and was dropped.
    """

    observed: int
    distinct: int
    nonfinite: int


class EpochBuffer:
    """Sums (float32) and counts (uint8) of n samples: 5 bytes a sample.

    Parameters
    ----------
    n : int
        Samples in the data set.

    Examples
    --------
    >>> from ted_core.buffer import EpochBuffer
    >>> buffer = EpochBuffer(3)
    >>> buffer.observe([1, 1], [1.0, 2.0])
    >>> [(ids.tolist(), means.tolist()) for ids, means in buffer.means()]
    [([1], [1.5])]
    """

    def __init__(self, n: int) -> None:
        self.n = n
        self.sums = np.zeros(n, np.float32)
        self.counts = np.zeros(n, np.uint8)
        self.observed = 0

    def observe(self, ids: ArrayLike, values: ArrayLike) -> None:
        """Take the values of one step, or of many.

        Parameters
        ----------
        ids : array_like of int, shape (m,)
            Sample ids in [0, n); an id may stand several times.
        values : array_like of float, shape (m,)
            Their values; a value that is not finite voids the sample's epoch.

        Raises
        ------
        ValueError, TypeError
            An id is out of range, or the shapes or dtypes do not fit; nothing of
            the call is taken then.

        Notes
        -----
        O(m). Within an epoch a sample's value is the mean of its observed values.
        """
        checked = check_ids("ids", ids, self.n)
        numbers = check_values("values", values, checked.size)
        with np.errstate(invalid="ignore", over="ignore"):
            np.add.at(self.sums, checked, numbers)
        np.add.at(self.counts, checked, np.uint8(1))
        self.observed += checked.size

    def observe_sums(self, sums: ArrayLike, counts: ArrayLike) -> None:
        """Take a whole buffer: the sum of values and the count of each sample.

        Parameters
        ----------
        sums : array_like of float, shape (n,)
            Sum of the values of each sample.
        counts : array_like of int, shape (n,)
            How often each was observed, in [0, 255].

        Raises
        ------
        ValueError, TypeError
            The shapes or dtypes do not fit, or a count is out of range.

        Notes
        -----
        O(n).
        """
        numbers = check_values("sums", sums, self.n)
        seen = as_array("counts", counts)
        if seen.shape != (self.n,):
            msg = f"`counts` must have shape ({self.n},), got shape {seen.shape}"
            raise ValueError(msg)
        if seen.dtype.kind not in "iu":
            msg = f"`counts` must hold integers, got dtype {seen.dtype}"
            raise TypeError(msg)
        if seen.min() < 0 or seen.max() > _MOST_SEEN:
            msg = f"`counts` must be in [0, 255], got {seen.min()} to {seen.max()}"
            raise ValueError(msg)
        for part in pieces(self.n):
            strange = np.flatnonzero((seen[part] == 0) & (numbers[part] != 0))
            if strange.size:
                at = int(strange[0]) + part.start
                msg = f"`sums` must be 0 where `counts` is 0, got {numbers[at]} at {at}"
                raise ValueError(msg)
        with np.errstate(invalid="ignore", over="ignore"):
            self.sums += numbers
        self.counts += seen.astype(np.uint8, copy=False)
        self.observed += int(seen.sum(dtype=np.int64))

    def check(self, *, whole: bool = True) -> None:
        """Refuse a buffer whose counts ran over, or in which nothing is finite.

        Parameters
        ----------
        whole : bool, default True
            Whether these are all samples, so that no finite value is an error.

        Raises
        ------
        EpochError
            A sample was observed more than 255 times, or no value is finite.
        """
        if int(self.counts.sum(dtype=np.int64)) != self.observed:
            msg = "an epoch may observe a sample at most 255 times, got more"
            raise EpochError(msg)
        finite = (np.isfinite(means).any() for _, means in self.means())
        if whole and not any(finite):
            msg = (
                f"an epoch must have a finite value, got {self.observed} observations "
                "and none finite; look for NaN in the loss"
            )
            raise EpochError(msg)

    def means(self) -> Iterator[tuple[NDArray[np.int64], Scores]]:
        """Yield ids and mean values of the samples seen, ascending, in pieces.

        Yields
        ------
        ids : ndarray of int64, shape (m,)
            Samples observed at least once.
        means : ndarray of float32, shape (m,)
            Mean of their values; not finite where any was not.
        """
        for start in range(0, self.n, _CHUNK):
            stop = start + _CHUNK
            seen = np.flatnonzero(self.counts[start:stop])
            if seen.size:
                sums = self.sums[start:stop][seen]
                counts = self.counts[start:stop][seen].astype(np.float32)
                means = np.asarray(sums / counts, np.float32)
                yield seen + start, means
