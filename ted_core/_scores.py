"""What is known of each sample: its score, and the values of the open epoch."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from copy import copy
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

from ted_core._validation import (
    as_array,
    check_finite,
    check_ids,
    check_kind,
    check_mask,
    check_samples,
    check_shape,
    check_values,
)
from ted_core.checkpoint import array_field, plain_field
from ted_core.errors import CheckpointError, EpochError
from ted_core.reductions import Columns, Polyak, Reduction
from ted_core.selection.sharded import Selector
from ted_core.selection.top_k import pieces
from ted_core.typing import Counts, Ids, Scores

_MAX_TIMES = np.iinfo(np.uint8).max
_MAX_EPOCHS = np.iinfo(np.uint16).max  # that are counted of a sample
# Bits of a sample's flags; the bit after one is for a second epoch of the same.
_SEEN, _NONFINITE, _WEIGHTLESS, _UNDELIVERED = 1, 2, 8, 32
_SINCE_VALUE = _WEIGHTLESS * 3 | _UNDELIVERED * 3
_ALL_FLAGS = _SEEN | _NONFINITE * 3 | _SINCE_VALUE


class Closed(NamedTuple):
    """How many samples an epoch left without a value, by the reason."""

    nonfinite: int = 0  # delivered, and the value not finite or never recorded
    weightless: int = 0  # delivered with weight 0
    given_up: int = 0  # never delivered though planned twice: they rank first no more


class Received(NamedTuple):
    """How many samples an epoch has received, and what came of them."""

    samples: int
    finite: int
    weightless: int
    nonfinite: int

    def check(self, where: str = "") -> None:
        """Refuse an epoch that has not one finite value, and say why."""
        if self.finite:
            return
        if not self.samples:
            msg = f"an epoch must have observed values, got none{where}; call "
            msg += "`observe` in every step"
            raise EpochError(msg)
        silent = self.samples - self.weightless - self.nonfinite
        msg = (
            f"an epoch must have a finite value, got {self.samples} samples{where} and "
            f"none finite: {self.weightless} with weight 0, {self.nonfinite} not "
            f"finite, {silent} without a backward pass; "
        )
        if self.weightless == self.samples:
            msg += "give samples to train on a weight above 0"
        else:
            msg += "look for NaN in the loss, and for steps that skip the backward"
        raise EpochError(msg)


class EpochBuffer:
    """What an epoch brought of each sample, in 7 bytes."""

    def __init__(self, n: int) -> None:
        self.n = n
        self.sums = np.zeros(n, np.float32)
        self.counts, self.deliveries, self.weightless = np.zeros((3, n), np.uint8)
        self.observed = 0

    def observe(
        self, ids: ArrayLike, values: ArrayLike, *, valid: ArrayLike | None = None
    ) -> None:
        """Add the values of one step, or of many."""
        checked = check_ids("ids", ids, self.n)
        numbers = check_values("values", values, checked.size)
        given = None if valid is None else check_mask("valid", valid, checked.size)
        self._check_room(checked)
        np.add.at(self.deliveries, checked, np.uint8(1))
        self.observed += checked.size
        if given is not None:
            np.add.at(self.weightless, checked[~given], np.uint8(1))
            checked, numbers = checked[given], numbers[given]
        with np.errstate(invalid="ignore", over="ignore"):
            np.add.at(self.sums, checked, numbers)
        np.add.at(self.counts, checked, np.uint8(1))

    def _check_room(self, ids: NDArray[Any]) -> None:
        """Refuse ids that would not fit the counts, which have 8 bits."""
        most = max(int(c[ids].max(initial=0)) for c in (self.deliveries, self.counts))
        if most + ids.size <= _MAX_TIMES:
            return
        distinct, more = np.unique(ids, return_counts=True)
        for counts in (self.deliveries, self.counts):
            _check_times(counts[distinct], more, distinct)

    def observe_sums(
        self,
        sums: ArrayLike,
        counts: ArrayLike,
        *,
        deliveries: ArrayLike | None = None,
        weightless: ArrayLike | None = None,
    ) -> None:
        """Add the sum of values and the counts of each sample."""
        numbers = check_values("sums", sums, self.n)
        times = received = _as_times("counts", counts, self.n)
        if deliveries is not None:
            received = _as_times("deliveries", deliveries, self.n)
        added = [(self.counts, times), (self.deliveries, received)]
        if weightless is not None:
            without = _as_times("weightless", weightless, self.n)
            added.append((self.weightless, without))
        for part in pieces(self.n):
            wrong = np.flatnonzero((times[part] == 0) & (numbers[part] != 0))
            if wrong.size:
                at = int(wrong[0]) + part.start
                msg = f"`sums` must be 0 where `counts` is 0, got {numbers[at]} at {at}"
                raise ValueError(msg)
            for mine, more in added:
                _check_times(mine[part], more[part], range(part.start, part.stop))
        with np.errstate(invalid="ignore", over="ignore"):
            self.sums += numbers
        for mine, more in added:
            np.add(mine, more, out=mine)
        self.observed += int(received.sum(dtype=np.int64))

    def load(self, state: Mapping[str, Any], observed: int) -> None:
        """Take over the buffer of a state."""
        self.sums[...] = array_field(state, "open.sums", self.sums)
        self.counts[...] = array_field(state, "open.counts", self.counts)
        self.deliveries[...] = self.counts  # version 1 has no others
        for name in ("deliveries", "weightless"):
            mine = getattr(self, name)
            if f"open.{name}" in state:
                mine[...] = array_field(state, f"open.{name}", mine)
        counted = int(self.deliveries.sum(dtype=np.int64))
        if observed < 0 or counted != observed:
            msg = "`open.observed` must equal the sum of its deliveries, saved "
            msg += f"{observed}, {counted}"
            raise CheckpointError(msg)
        self.observed = observed

    def received(self) -> Received:
        """Count the samples received up to the first finite values: of all, if none."""
        found = np.zeros(4, np.int64)
        for part in pieces(self.n):
            if found[1]:
                break  # that there are some is all that is asked
            finite = np.isfinite(self.means(part))
            valued, delivered = self.counts[part] > 0, self.deliveries[part] > 0
            weightless = (self.weightless[part] > 0) & ~valued
            facts = (valued | delivered | weightless, finite, weightless)
            found += [np.count_nonzero(f) for f in (*facts, valued & ~finite)]
        return Received(*found.tolist())

    def means(self, part: slice) -> Scores:
        """Return the mean value of each sample of a piece; NaN without any."""
        counts = self.counts[part].astype(np.float32)
        with np.errstate(invalid="ignore", divide="ignore"):
            return np.where(counts > 0, self.sums[part] / counts, np.float32(np.nan))


def _as_times(name: str, value: ArrayLike, n: int) -> Counts:
    """Return how often each sample came, uint8, or say why it is not that."""
    times = as_array(name, value, kinds="iu")
    check_shape(name, times, (n,))
    if times.min() < 0 or times.max() > _MAX_TIMES:
        msg = f"`{name}` must be in [0, 255], got {times.min()} to {times.max()}"
        raise ValueError(msg)
    return times.astype(np.uint8, copy=False)


def _check_times(
    before: Counts, more: NDArray[Any], ids: NDArray[Any] | Sequence[int]
) -> None:
    """Refuse counts whose sum does not fit 8 bits, and name the sample."""
    total = before.astype(np.int64) + more
    if total.max(initial=0) > _MAX_TIMES:
        at = int(total.argmax())
        msg = (
            f"an epoch may observe a sample at most {_MAX_TIMES} times, got "
            f"{total[at]} of sample {ids[at]}"
        )
        raise EpochError(msg)


class ScoreTable:
    """Scores of n samples, fed during an epoch and updated when it closes (Eq. 19)."""

    # A sample is in one of four states. With a value, it has a score. Delivered
    # without a finite value, it keeps its score, or ranks at the median. Delivered with
    # weight 0 and without a value, it ranks last until it has one. Planned and not
    # delivered, it keeps its score; without one it ranks first for one more epoch,
    # then at the median.
    #
    # 7 bytes a sample between epochs, 2 more where a strategy asks how often each was
    # planned, and what the reduction adds; 7 more while an epoch is open.

    def __init__(
        self,
        n: int,
        *,
        reduction: Reduction | None = None,
        initial_scores: ArrayLike | None = None,
        counts_planned: bool = False,
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
        self._planned = np.zeros(self.n, np.uint16) if counts_planned else None
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
    def planned_counts(self) -> NDArray[np.uint16]:
        """Closed epochs that planned each sample, read-only; 0 if not counted."""
        counted = np.uint16(0) if self._planned is None else self._planned
        return np.broadcast_to(counted, self.n)

    def repeated_ids(self) -> dict[str, NDArray[np.int64]]:
        """Return the ids without a value in two epochs, by the reason, for a report."""
        flags = {"nonfinite_ids": _NONFINITE, "weightless_ids": _WEIGHTLESS}
        flags["undelivered_ids"] = _UNDELIVERED
        return {k: np.flatnonzero(self._flags & 2 * bit) for k, bit in flags.items()}

    @property
    def observed(self) -> int:
        """Deliveries of the open epoch, repeats included."""
        return 0 if self._buffer is None else self._buffer.observed

    @property
    def deliveries(self) -> Counts:
        """How often the open epoch delivered each sample, shape (n,); not copied."""
        none: Counts = np.broadcast_to(np.uint8(0), self.n)
        return none if self._buffer is None else self._buffer.deliveries

    @property
    def buffer(self) -> EpochBuffer:
        """What the open epoch observed; made when first used."""
        if self._buffer is None:
            self._buffer = EpochBuffer(self.n)
        return self._buffer

    def waits_for(self, order: Ids) -> bool:
        """Return whether an epoch's samples were all planned before, and never came."""
        flags = self._flags[order] & (_SEEN | _UNDELIVERED)
        return bool((flags == _UNDELIVERED).all() and not self.observed)

    def received(self) -> Received:
        """Count the samples received, up to the first finite values: O(n)."""
        none = Received(0, 0, 0, 0)
        return none if self._buffer is None else self._buffer.received()

    def close(self, order: Ids | None = None) -> Closed:
        """Write the epoch's means into the scores (Eq. 19) and clear the buffer."""
        closed = np.zeros(3, np.int64)
        if self.observed or order is not None:
            due = np.zeros(self.n, bool)
            due[[] if order is None else order] = True
            planned = np.ones(self.n, bool) if order is None else due
            for part in pieces(self.n):
                closed += self._close(part, self.buffer, planned[part], due[part])
        self._buffer = None
        return Closed(*closed.tolist())

    def _close(
        self,
        part: slice,
        buffer: EpochBuffer,
        planned: NDArray[np.bool_],
        due: NDArray[np.bool_],
    ) -> list[int]:
        """Give each sample of a piece its new score or state; count the states."""
        flags, means = self._flags[part], buffer.means(part)
        finite = np.isfinite(means)
        valued, delivered = buffer.counts[part] > 0, buffer.deliveries[part] > 0
        without_weight = buffer.weightless[part] > 0
        # Samples that fill a short shard have weight 0 and are not planned.
        weightless = planned & ~valued & without_weight
        nonfinite = ~finite & (valued | delivered & ~without_weight)
        undelivered = due & ~(valued | delivered | without_weight)
        never = undelivered & (flags & _SEEN == 0)
        given_up = never & (flags & _UNDELIVERED > 0) & (flags & 2 * _UNDELIVERED == 0)
        flags[finite | nonfinite | weightless] |= _SEEN
        flags[finite] &= ~np.uint8(_SINCE_VALUE)
        flags[nonfinite | weightless] &= ~np.uint8(_UNDELIVERED * 3)
        for bit, where in (
            (_NONFINITE, nonfinite),
            (_WEIGHTLESS, weightless),
            (_UNDELIVERED, undelivered),
        ):
            if where.any():
                once = flags[where] & bit
                flags[where] |= once << np.uint8(1) | np.uint8(bit)
        ids, values = np.flatnonzero(finite) + part.start, means[finite]
        counts = self._update_counts[ids]
        before = {name: column[ids] for name, column in self.columns.items()}
        for name, column in self.reduction.update(before, counts, values).items():
            # -0 becomes 0, so that equal scores have equal bits.
            self.columns[name][ids] = column + column.dtype.type(0)
        self._update_counts[ids] = _one_more(counts)
        return [int(x.sum()) for x in (nonfinite, weightless, given_up)]

    def count_planned(self, order: Ids) -> None:
        """Count the plan of an epoch that closes, if a strategy asks for it."""
        if self._planned is not None:
            self._planned[order] = _one_more(self._planned[order])

    def ranking(self, selector: Selector | None = None) -> Scores:
        """Return what a strategy ranks by."""
        ranking = self.reduction.rank(self.columns, self._update_counts).view()
        missing = self._update_counts == 0
        weightless = (self._flags & _WEIGHTLESS).astype(bool)
        if missing.any() or weightless.any():  # else it may be a column
            ranking = ranking.copy()
            ranking[missing] = np.inf
        missing &= (self._flags & (_SEEN | 2 * _UNDELIVERED)).astype(bool)
        selector = selector or Selector(self.n)
        # Another process may need the median, to which all contribute.
        if selector.sum([np.count_nonzero(missing)])[0]:
            middle = selector.median(ranking[self._update_counts > 0])
            if missing.any():
                ranking[missing] = middle
        if weightless.any():
            ranking[weightless] = -np.inf
        ranking.setflags(write=False)
        return ranking

    def arrays(self) -> dict[str, NDArray[Any]]:
        """Return the arrays that a state holds, by name, not copied."""
        counts, flags = self._update_counts, self._flags
        arrays = {**self.columns, "update_counts": counts, "flags": flags}
        if self._planned is not None:
            arrays["planned_counts"] = self._planned
        return arrays

    def of_state(self, state: Mapping[str, Any]) -> ScoreTable:
        """Return a table like this one on a state's arrays, checked, not copied."""
        own = self.arrays()
        arrays = {n: array_field(state, f"scores.{n}", a) for n, a in own.items()}
        table = copy(self)
        table.columns = {name: arrays[name] for name in self.columns}
        table._update_counts = arrays["update_counts"]  # noqa: SLF001
        table._flags = arrays["flags"]  # noqa: SLF001
        table._planned = arrays.get("planned_counts")  # noqa: SLF001
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


def _one_more(counts: NDArray[np.uint16]) -> NDArray[np.uint16]:
    """Return counts of epochs that are higher by one, 65,535 at most."""
    return np.minimum(counts, _MAX_EPOCHS - 1) + np.uint16(1)
