"""What is known of each sample: its score, and the values of the open epoch."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
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
from ted_core.checkpoint import array_field, plain_field
from ted_core.errors import CheckpointError, EpochError
from ted_core.reductions import Columns, Polyak, Reduction
from ted_core.selection.sharded import LocalSelector, Selector
from ted_core.selection.top_k import pieces
from ted_core.typing import Counts, Scores

__all__ = ["ScoreTable"]

_CHUNK = 1 << 18
_MAX_TIMES = np.iinfo(np.uint8).max
_MAX_UPDATES = np.iinfo(np.uint16).max
_SEEN, _NONFINITE, _NONFINITE_TWICE = 1, 2, 4
_ALL_FLAGS = _SEEN | _NONFINITE | _NONFINITE_TWICE


class EpochBuffer:
    """Sum (float32) and count (uint8) of each sample's values in one epoch."""

    def __init__(self, n: int) -> None:
        self.n = n
        self.sums = np.zeros(n, np.float32)
        self.counts = np.zeros(n, np.uint8)
        self.observed = 0

    def observe(self, ids: ArrayLike, values: ArrayLike) -> None:
        """Add the values of one step, or of many."""
        checked = check_ids("ids", ids, self.n)
        numbers = check_values("values", values, checked.size)
        with np.errstate(invalid="ignore", over="ignore"):
            np.add.at(self.sums, checked, numbers)
        np.add.at(self.counts, checked, np.uint8(1))
        self.observed += checked.size

    def observe_sums(self, sums: ArrayLike, counts: ArrayLike) -> None:
        """Add the sum of values and the count of each sample."""
        numbers = check_values("sums", sums, self.n)
        times = as_array("counts", counts)
        if times.shape != (self.n,):
            msg = f"`counts` must have shape ({self.n},), got shape {times.shape}"
            raise ValueError(msg)
        if times.dtype.kind not in "iu":
            msg = f"`counts` must hold integers, got dtype {times.dtype}"
            raise TypeError(msg)
        if times.min() < 0 or times.max() > _MAX_TIMES:
            msg = f"`counts` must be in [0, 255], got {times.min()} to {times.max()}"
            raise ValueError(msg)
        for part in pieces(self.n):
            wrong = np.flatnonzero((times[part] == 0) & (numbers[part] != 0))
            if wrong.size:
                at = int(wrong[0]) + part.start
                msg = f"`sums` must be 0 where `counts` is 0, got {numbers[at]} at {at}"
                raise ValueError(msg)
        with np.errstate(invalid="ignore", over="ignore"):
            self.sums += numbers
        self.counts += times.astype(np.uint8, copy=False)
        self.observed += int(times.sum(dtype=np.int64))

    def load(self, state: Mapping[str, Any], observed: int) -> None:
        """Take over the buffer of a state."""
        self.sums[...] = array_field(state, "open.sums", self.sums)
        self.counts[...] = array_field(state, "open.counts", self.counts)
        counted = int(self.counts.sum(dtype=np.int64))
        if observed < 0 or counted != observed:
            msg = "`open.observed` must equal the sum of its counts, saved "
            msg += f"{observed}, {counted}"
            raise CheckpointError(msg)
        self.observed = observed

    def check(self, *, whole: bool = True) -> None:
        """Refuse counts that ran over, and an epoch without a finite value."""
        if int(self.counts.sum(dtype=np.int64)) != self.observed:
            msg = f"an epoch may observe a sample at most {_MAX_TIMES} times, got more"
            raise EpochError(msg)
        finite = (np.isfinite(means).any() for _, means in self.means())
        if whole and not any(finite):
            msg = (
                f"an epoch must have a finite value, got {self.observed} observations "
                "and none finite; look for NaN in the loss"
            )
            raise EpochError(msg)

    def means(self) -> Iterator[tuple[NDArray[np.int64], Scores]]:
        """Yield ids and mean values of the samples seen, ascending, in pieces."""
        for start in range(0, self.n, _CHUNK):
            stop = start + _CHUNK
            seen = np.flatnonzero(self.counts[start:stop])
            if seen.size:
                sums = self.sums[start:stop][seen]
                counts = self.counts[start:stop][seen].astype(np.float32)
                means = np.asarray(sums / counts, np.float32)
                yield seen + start, means


class ScoreTable:
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
    7 bytes a sample between epochs (float32 score, uint16 update count, uint8 flags)
    and what the reduction adds; 5 more (float32 sum, uint8 count) while an epoch is
    open. Closing an epoch is one pass, O(n), with constant scratch space.

    References
    ----------
    J. Xiao, P. Li, J. Nie, TED: Accelerate Model Training by Internal
    Generalization, ECAI 2024, Eq. 19 and Algorithm 1 line 7.

    Examples
    --------
    >>> from ted_core import ScoreTable
    >>> table = ScoreTable(3)
    >>> table.observe([0, 2], [1.0, 3.0])
    >>> table.close()
    0
    >>> table.scores.tolist()
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
        self._update_counts = np.zeros(self.n, np.uint16)
        self._flags = np.zeros(self.n, np.uint8)
        self.columns: Columns = {"score": np.full(self.n, np.nan, np.float32)}
        for name, dtype in self.reduction.extra_columns.items():
            self.columns[name] = np.zeros(self.n, dtype)
        if initial_scores is not None:
            scores = check_finite("initial_scores", initial_scores, self.n)
            self.columns.update(self.reduction.begin(scores.copy()))
            self._update_counts[:] = 1
            self._flags[:] = _SEEN
        self._buffer: EpochBuffer | None = None

    @property
    def scores(self) -> Scores:
        """Scores as ranked, float32, shape (n,), a copy; NaN where none yet."""
        ranked = self.reduction.rank(self.columns, self._update_counts)
        return np.where(self._update_counts > 0, ranked, np.float32(np.nan))

    @property
    def update_counts(self) -> NDArray[np.uint16]:
        """Epochs with a valid value, uint16, shape (n,), a copy; 65,535 at most."""
        return self._update_counts.copy()

    @property
    def seen(self) -> NDArray[np.bool_]:
        """Whether each sample was ever observed, bool, shape (n,)."""
        return (self._flags & _SEEN).astype(bool)

    @property
    def nonfinite_ids(self) -> NDArray[np.int64]:
        """Ids whose value was not finite in two epochs or more, ascending."""
        return np.flatnonzero(self._flags & _NONFINITE_TWICE)

    @property
    def observed(self) -> int:
        """Observations of the open epoch, repeats included."""
        return 0 if self._buffer is None else self._buffer.observed

    @property
    def times(self) -> Counts:
        """How often the open epoch observed each sample, shape (n,); not copied."""
        none: Counts = np.broadcast_to(np.uint8(0), self.n)
        return none if self._buffer is None else self._buffer.counts

    @property
    def buffer(self) -> EpochBuffer:
        """What the open epoch observed; made when first used."""
        if self._buffer is None:
            self._buffer = EpochBuffer(self.n)
        return self._buffer

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
        self.buffer.observe(ids, values)

    def observe_sums(self, sums: ArrayLike, counts: ArrayLike) -> None:
        """Take a whole buffer: the sum of values and the count of each sample.

        Parameters
        ----------
        sums : array_like of float, shape (n,)
            Sum of the values of each sample; 0 where it was not observed.
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
        self.buffer.observe_sums(sums, counts)

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
            times. The table is unchanged then.
        """
        nonfinite = 0
        if self.observed:
            self.buffer.check(whole=whole)
            for ids, means in self.buffer.means():
                valid = np.isfinite(means)
                self._flag(ids, ids[~valid])
                self._update(ids[valid], means[valid])
                nonfinite += int(ids.size - valid.sum())
        self._buffer = None
        return nonfinite

    def _flag(self, seen: NDArray[np.int64], wrong: NDArray[np.int64]) -> None:
        self._flags[seen] |= _SEEN
        again = self._flags[wrong] & _NONFINITE
        flags = np.where(again, _NONFINITE_TWICE, _NONFINITE)
        self._flags[wrong] |= flags.astype(np.uint8)

    def _update(self, ids: NDArray[np.int64], values: Scores) -> None:
        counts = self._update_counts[ids]
        before = {name: column[ids] for name, column in self.columns.items()}
        for name, column in self.reduction.update(before, counts, values).items():
            # -0 becomes 0, so that equal scores have equal bits.
            self.columns[name][ids] = column + column.dtype.type(0)
        self._update_counts[ids] = np.minimum(counts, _MAX_UPDATES - 1) + np.uint16(1)

    def ranking(self, selector: Selector | None = None) -> Scores:
        """Return what a strategy ranks by.

        Parameters
        ----------
        selector : Selector, optional
            Gives the median of the samples of all processes; of these by default.

        Returns
        -------
        ndarray of float32, shape (n,)
            The score; ``inf`` for a sample never seen; the median of the valid
            scores for one without a valid value. Read-only: it may be a column.

        Notes
        -----
        O(n); a copy, 4 bytes a sample, where a sample has no score of its own.
        """
        ranking = self.reduction.rank(self.columns, self._update_counts).view()
        missing = self._update_counts == 0
        if missing.any():
            ranking = ranking.copy()
            ranking[missing] = np.inf
            missing &= self.seen
        selector = LocalSelector(self.n) if selector is None else selector
        # Another process may need the median, to which all contribute.
        if selector.sum([np.count_nonzero(missing)])[0]:
            middle = selector.median(ranking[self._update_counts > 0])
            if missing.any():  # else it may be a column
                ranking[missing] = middle
        ranking.setflags(write=False)
        return ranking

    def arrays(self) -> dict[str, NDArray[Any]]:
        """Return the arrays that a state holds, by name, not copied."""
        counts, flags = self._update_counts, self._flags
        return {**self.columns, "update_counts": counts, "flags": flags}

    def of_state(self, state: Mapping[str, Any]) -> ScoreTable:
        """Return a table like this one on a state's arrays, checked, not copied."""
        own = self.arrays()
        arrays = {n: array_field(state, f"scores.{n}", a) for n, a in own.items()}
        table = copy(self)
        table.columns = {name: arrays[name] for name in self.columns}
        table._update_counts = arrays["update_counts"]  # noqa: SLF001
        table._flags = arrays["flags"]  # noqa: SLF001
        table._buffer = None  # noqa: SLF001
        observed = plain_field(state, "open.observed", int)
        if observed:
            table.buffer.load(state, observed)
        table._check()  # noqa: SLF001
        return table

    def _check(self) -> None:
        """Refuse odd flags, and scores not finite where there were updates."""
        highest = int(self._flags.max())
        if highest > _ALL_FLAGS:
            msg = f"`scores.flags` must be at most {_ALL_FLAGS}, saved {highest}"
            raise CheckpointError(msg)
        score, counts = self.columns["score"], self._update_counts
        for part in pieces(self.n):
            for name in self.reduction.extra_columns:
                if not np.isfinite(self.columns[name][part]).all():
                    msg = f"`scores.{name}` must be finite, saved others"
                    raise CheckpointError(msg)
            wrong = np.flatnonzero(np.isfinite(score[part]) != (counts[part] > 0))
            if wrong.size:
                at = int(wrong[0]) + part.start
                msg = (
                    "`scores.score` must be finite where updated and NaN elsewhere, "
                    f"saved {score[at]} at {at} with {counts[at]} updates"
                )
                raise CheckpointError(msg)

    def take_over(self, other: ScoreTable) -> None:
        """Copy the arrays of a table of the same kind, and take its open epoch."""
        for name, array in other.arrays().items():
            self.arrays()[name][...] = array
        self._buffer = other._buffer
