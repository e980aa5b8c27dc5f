"""The per-sample state: scores, visits and flags, and the buffer of one epoch."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from copy import copy
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from ted_core._validation import (
    as_array,
    check_finite,
    check_ids,
    check_kind,
    check_samples,
    check_values,
)
from ted_core.errors import EpochError
from ted_core.reductions import Columns, Polyak, Reduction
from ted_core.selection.top_k import median, pieces
from ted_core.typing import Counts, Scores

__all__ = [
    "ALL_FLAGS",
    "EpochBuffer",
    "ScoreBook",
]

_CHUNK = 1 << 18


_MOST_SEEN = np.iinfo(np.uint8).max


class EpochBuffer:
    """Sums (float32) and counts (uint8) of n samples: 5 bytes a sample.

    Parameters
    ----------
    n : int
        Samples in the data set.

    Examples
    --------
    >>> from ted_core.scores import EpochBuffer
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


_PRESENTED, _NONFINITE, _NONFINITE_TWICE = 1, 2, 4


ALL_FLAGS = _PRESENTED | _NONFINITE | _NONFINITE_TWICE


"""Every bit that a sample's flags may have."""


_MOST_VISITS = np.iinfo(np.uint16).max


class ScoreBook:
    r"""Scores of n samples, fed during an epoch and updated when it closes.

    Parameters
    ----------
    n : int
        Samples in the data set, at least 1.
    reduction : Reduction, default ``Polyak()``
        The rule that makes one score of the values over the epochs.
    initial_scores : array_like of float, shape (n,), optional
        Finite scores to start from, as if each sample had been seen once.

    Raises
    ------
    ValueError, TypeError
        An argument is out of its range or of a wrong type, by name.

    Notes
    -----
    7 bytes a sample between epochs (float32 score, uint16 visits, uint8 flags) and
    what the reduction adds; 5 more (float32 sum, uint8 count) while an epoch is open.
    Closing an epoch is one pass, O(n), with constant scratch space.

    References
    ----------
    J. Xiao, P. Li, J. Nie, TED: Accelerate Model Training by Internal
    Generalization, ECAI 2024, Eq. 19 and Algorithm 1 line 7.

    Examples
    --------
    >>> from ted_core import ScoreBook
    >>> book = ScoreBook(3)
    >>> book.observe([0, 2], [1.0, 3.0])
    >>> book.close()
    0
    >>> book.scores.tolist()
    [1.0, nan, 3.0]
    """

    def __init__(
        self,
        n: int,
        *,
        reduction: Reduction | None = None,
        initial_scores: ArrayLike | None = None,
    ) -> None:
        self.n = check_samples(n)
        self.reduction: Reduction = Polyak() if reduction is None else reduction
        check_kind("reduction", self.reduction, Reduction)
        self._visits = np.zeros(self.n, np.uint16)
        self._flags = np.zeros(self.n, np.uint8)
        self.columns: Columns = {"score": np.full(self.n, np.nan, np.float32)}
        for name, dtype in self.reduction.extra_columns.items():
            self.columns[name] = np.zeros(self.n, dtype)
        if initial_scores is not None:
            self._begin(initial_scores)
        self._buffer: EpochBuffer | None = None

    def _begin(self, initial_scores: ArrayLike) -> None:
        scores = check_finite("initial_scores", initial_scores, self.n)
        self.columns.update(self.reduction.begin(scores.copy()))
        self._visits[:] = 1
        self._flags[:] = _PRESENTED

    @property
    def scores(self) -> Scores:
        """Scores as ranked, float32, shape (n,), a copy; NaN where none yet."""
        ranked = self.reduction.rank(self.columns, self._visits)
        return np.where(self._visits > 0, ranked, np.float32(np.nan))

    @property
    def visits(self) -> NDArray[np.uint16]:
        """Epochs with a valid value, uint16, shape (n,), a copy; 65,535 at most."""
        return self._visits.copy()

    @property
    def presented(self) -> NDArray[np.bool_]:
        """Whether each sample was ever observed, bool, shape (n,)."""
        return (self._flags & _PRESENTED).astype(bool)

    @property
    def nonfinite_ids(self) -> NDArray[np.int64]:
        """Ids whose value was not finite in two epochs or more, ascending."""
        return np.flatnonzero(self._flags & _NONFINITE_TWICE)

    def open(self) -> EpochBuffer:
        """Return the buffer of the open epoch, made at its first use."""
        if self._buffer is None:
            self._buffer = EpochBuffer(self.n)
        return self._buffer

    @property
    def pending(self) -> int:
        """Observations of the open epoch, repeats included."""
        return 0 if self._buffer is None else self._buffer.observed

    @property
    def times(self) -> Counts:
        """How often the open epoch observed each sample, shape (n,); not copied."""
        none: Counts = np.broadcast_to(np.uint8(0), self.n)
        return none if self._buffer is None else self._buffer.counts

    def observe(self, ids: ArrayLike, values: ArrayLike) -> None:
        """Take the values of one step; see :meth:`EpochBuffer.observe`."""
        self.open().observe(ids, values)

    def observe_sums(self, sums: ArrayLike, counts: ArrayLike) -> None:
        """Take a whole buffer; see :meth:`EpochBuffer.observe_sums`."""
        self.open().observe_sums(sums, counts)

    def close(self, *, whole: bool = True) -> int:
        """Write the epoch's means into the scores (Eq. 19) and clear the buffer.

        Parameters
        ----------
        whole : bool, default True
            Whether these are all samples, so that no finite value is an error.

        Returns
        -------
        int
            Samples whose value of the epoch was not finite, and was dropped.

        Raises
        ------
        EpochError
            Not one observed value is finite, or a sample was observed more than 255
            times. The book is unchanged then.
        """
        if self._buffer is None or self._buffer.observed == 0:
            self._buffer = None
            return 0
        self._buffer.check(whole=whole)
        nonfinite = 0
        for ids, means in self._buffer.means():
            valid = np.isfinite(means)
            self._flag(ids, ids[~valid])
            self._update(ids[valid], means[valid])
            nonfinite += int(ids.size - valid.sum())
        self._buffer = None
        return nonfinite

    def _flag(self, seen: NDArray[np.int64], wrong: NDArray[np.int64]) -> None:
        self._flags[seen] |= _PRESENTED
        again = self._flags[wrong] & _NONFINITE
        self._flags[wrong] |= np.where(again, _NONFINITE_TWICE, _NONFINITE).astype(
            np.uint8
        )

    def _update(self, ids: NDArray[np.int64], values: Scores) -> None:
        visits = self._visits[ids]
        before = {name: column[ids] for name, column in self.columns.items()}
        for name, column in self.reduction.update(before, visits, values).items():
            self.columns[name][ids] = column + column.dtype.type(0)
        self._visits[ids] = np.minimum(visits, _MOST_VISITS - 1) + np.uint16(1)

    def ranking(self, middle: Callable[..., np.float32] | None = None) -> Scores:
        """Return what a strategy ranks by.

        Parameters
        ----------
        middle : callable, optional
            The median for samples without a value, from the valid scores and how many
            take it; by default theirs.

        Returns
        -------
        ndarray of float32, shape (n,)
            The score; ``inf`` for a sample never presented; the median of the valid
            scores for one without a valid value. Read-only: it may be a column.

        Notes
        -----
        O(n); a copy, 4 bytes a sample, where a sample has no score of its own.
        """
        ranking = self.reduction.rank(self.columns, self._visits).view()
        missing = self._visits == 0
        if missing.any():
            ranking = ranking.copy()
            ranking[missing] = np.inf
            missing &= self.presented
        wanted = int(np.count_nonzero(missing))
        if middle is not None:  # other ranks may want it
            between = middle(ranking[self._visits > 0], wanted)
        elif wanted:
            between = median(self._visited(ranking))
        if wanted:
            ranking[missing] = between
        ranking.setflags(write=False)
        return ranking

    def _visited(self, scores: Scores) -> Callable[[], Iterator[Scores]]:
        return lambda: (scores[p][self._visits[p] > 0] for p in pieces(self.n))

    def arrays(self) -> dict[str, NDArray[Any]]:
        """Return the resident arrays by name, not copied: the columns and counters."""
        return {**self.columns, "visits": self._visits, "flags": self._flags}

    def over(self, arrays: Mapping[str, NDArray[Any]]) -> ScoreBook:
        """Return a book like this one on given arrays, with no epoch open.

        Parameters
        ----------
        arrays : mapping of str to ndarray
            As :meth:`arrays` gives them; not copied.

        Returns
        -------
        ScoreBook
            It writes into them.
        """
        book = copy(self)
        book.columns = {name: arrays[name] for name in self.columns}
        book._visits, book._flags = arrays["visits"], arrays["flags"]  # noqa: SLF001
        book._buffer = None  # noqa: SLF001
        return book

    def restore(
        self, arrays: Mapping[str, NDArray[Any]], *, buffer: EpochBuffer | None = None
    ) -> None:
        """Overwrite the resident arrays by name; the caller has checked them."""
        for name, array in self.arrays().items():
            array[...] = arrays[name]
        self._buffer = buffer
