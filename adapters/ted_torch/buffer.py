"""The buffer of one open epoch, on the device."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple, TypeAlias, TypedDict, cast

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from ted_core import EpochError, Shard
from ted_core._scores import Received
from ted_core._validation import check_samples
from ted_core.selection.top_k import pieces
from ted_core.typing import Ids as PlannedIds
from ted_torch.ranks import Ranks, merge

__all__ = ["EpochBuffer"]

Indices: TypeAlias = Tensor | Sequence[tuple[Tensor, Tensor]]
"""Indices of a batch, (B,); or one pair (indices, weights) for each mixed part."""

_TENSORS = ("sums", "counts", "deliveries", "weightless", "counters")
_MAX_TIMES = 255


class Recorded(TypedDict):
    """What an epoch recorded, as ``Pruner.observe_sums`` takes it."""

    sums: NDArray[np.float32]
    counts: NDArray[np.uint8]
    deliveries: NDArray[np.uint8]
    weightless: NDArray[np.uint8]


class EpochBuffer:
    """What one epoch records, kept on the device until the epoch closes.

    Parameters
    ----------
    n : int
        Samples in the data set; index n takes ids that are out of range.
    device : torch.device or str, default "cpu"
        Where the network's outputs live; with another one every step waits.

    Attributes
    ----------
    sums : Tensor of float32, shape (n + 1,)
        Sum of each sample's values; not finite where any value was not.
    counts, deliveries, weightless : Tensor of uint8, shape (n + 1,)
        Times each sample was recorded, of a mixed batch in its first part; times the
        loss received it; and 1 where its weight was 0.
    shares : Tensor of float32, shape (n + 1,), or None
        Sum of each sample's weights, from the first mixed batch on.
    counters : Tensor of int64, shape (3,)
        Samples received by the loss, ids out of range, values recorded.

    Raises
    ------
    TypeError, ValueError
        `n` is no integer, or not in [1, 2^53].

    Notes
    -----
    7 bytes a sample, 11 with mixed batches. No step waits for the device.

    Examples
    --------
    >>> import torch
    >>> from ted_torch import EpochBuffer
    >>> buffer = EpochBuffer(3)
    >>> indices = buffer.indices(torch.tensor([2]))
    >>> buffer.deliver(indices)
    >>> buffer.add(indices, torch.tensor([0.5]), torch.tensor([True]))
    >>> recorded = buffer.read(0)
    >>> recorded["sums"].tolist(), recorded["counts"].tolist()
    ([0.0, 0.0, 0.5], [0, 0, 1])
    """

    def __init__(self, n: int, *, device: torch.device | str = "cpu") -> None:
        self.n = n = check_samples(n)
        self.sums = torch.zeros(n + 1, dtype=torch.float32, device=device)
        self.counts, self.deliveries, self.weightless = (
            torch.zeros(n + 1, dtype=torch.uint8, device=device) for _ in range(3)
        )
        self.shares: Tensor | None = None
        self.counters = torch.zeros(3, dtype=torch.int64, device=device)

    def indices(self, ids: Indices) -> Indices:
        """Bring a batch's ids to indices of the buffer.

        Parameters
        ----------
        ids : Tensor of int, shape (B,), or sequence of pairs (ids, weights)
            Sample ids, on any device; for mixed batches one pair for each part.

        Returns
        -------
        Tensor of int64, shape (B,), or list of pairs (indices, weights)
            Indices on the buffer's device; n for an id out of [0, n), which is
            counted.
        """
        indices = find_indices(self, ids)
        parts = [indices] if isinstance(indices, Tensor) else [i for i, _ in indices]
        for part in parts:
            self.counters[1].add_((part == self.n).sum())
        return indices

    def deliver(self, indices: Indices, *, weightless: Tensor | None = None) -> None:
        """Record that the loss received a batch, whether or not a backward follows.

        Parameters
        ----------
        indices : Tensor of int64, shape (B,), or sequence of pairs (indices, weights)
            What :meth:`indices` returned; of a mixed batch the first part counts.
        weightless : Tensor of bool, shape (B,), optional
            Which samples have weight 0.
        """
        first = indices if isinstance(indices, Tensor) else indices[0][0]
        ones = torch.ones_like(first, dtype=torch.uint8)
        self.deliveries.index_add_(0, first, ones)
        self.counters[0].add_(first.shape[0])
        if weightless is not None:
            mark_weightless(self, first, weightless)

    def add(self, indices: Indices, values: Tensor, counted: Tensor) -> None:
        """Add the values of a batch.

        Parameters
        ----------
        indices : Tensor of int64, shape (B,), or sequence of pairs (indices, weights)
            What :meth:`indices` returned.
        values : Tensor of float, shape (B,)
            Values to add; 0 where there is none.
        counted : Tensor of bool, shape (B,)
            Which samples count as recorded.
        """
        device = self.sums.device
        values, counted = values.float().to(device), counted.to(device)
        if isinstance(indices, Tensor):
            self.sums.index_add_(0, indices, values)
            if self.shares is not None:
                self.shares.index_add_(0, indices, counted.float())
            self._count(indices, counted)
            return
        if self.shares is None:
            # What was recorded before weighs 1.
            self.shares = self.counts.float()
        for position, (part, given) in enumerate(indices):
            weights = given.float().to(device)
            drawn = weights != 0
            shared = torch.where(drawn, values * weights, 0.0)
            self.sums.index_add_(0, part, shared)
            self.shares.index_add_(0, part, weights * counted)
            # The other parts are in the shares alone: a partner may come any number
            # of times.
            if position == 0:
                self._count(part, counted & drawn)

    def _count(self, indices: Tensor, counted: Tensor) -> None:
        self.counts.index_add_(0, indices, counted.to(torch.uint8))
        self.counters[2].add_(counted.sum())

    def read(
        self, epoch: int, *, ranks: Ranks | None = None, shard: Shard | None = None
    ) -> Recorded:
        """Bring what the epoch recorded to NumPy, once it is over.

        Parameters
        ----------
        epoch : int
            Its number, for the errors.
        ranks : Ranks, optional
            Processes whose buffers are added up: one collective, in which all take
            part.
        shard : Shard, optional
            This process's own samples; counters alone are added up.

        Returns
        -------
        dict of str to ndarray, shape (n,)
            To be given to ``Pruner.observe_sums`` as it is: `sums`, float32, the sum of
            each sample's values (with mixed batches their weighted mean, times the
            count); `counts`, `deliveries` and `weightless`, uint8. Where nothing was
            delivered, the counts stand for the deliveries. On the CPU they may be the
            buffer's own.

        Raises
        ------
        EpochError
            On every process alike: an id was out of range, nothing or nothing finite
            was recorded, a sample more than 255 times, or a mask had no gradient.

        Notes
        -----
        Waits for the device. O(n); 12 n bytes pass through a collective, or 120.
        """
        recorded, facts = collect(self, ranks=ranks, shard=shard)
        facts.check(self.n, epoch)
        return recorded

    def clear(self) -> None:
        """Forget everything, for the next epoch."""
        for name in _TENSORS:
            getattr(self, name).zero_()
        if self.shares is not None:
            self.shares.zero_()


def find_indices(buffer: EpochBuffer, ids: Indices) -> Indices:
    """Return what `EpochBuffer.indices` does, for ids that it has counted already."""

    def find(ids: Tensor) -> Tensor:
        ids = ids.to(buffer.sums.device, torch.int64, non_blocking=True)
        return torch.where((ids < 0) | (ids >= buffer.n), buffer.n, ids)

    if isinstance(ids, Tensor):
        return find(ids)
    return [(find(part), weights) for part, weights in ids]


def mark_weightless(buffer: EpochBuffer, indices: Indices, weightless: Tensor) -> None:
    """Record which samples of a batch have weight 0; of a mixed one the first part."""
    first = indices if isinstance(indices, Tensor) else indices[0][0]
    flags = weightless.to(buffer.weightless.device, torch.uint8)
    buffer.weightless.scatter_reduce_(0, first, flags, "amax")


def load_buffer(buffer: EpochBuffer, tensors: Mapping[str, Tensor]) -> None:
    """Copy what was recorded: the tensors by their names, `shares` if there are any."""
    for name in _TENSORS:
        getattr(buffer, name).copy_(tensors[name])
    shares = tensors.get("shares")
    if shares is not None:
        shares = shares.to(buffer.sums.device, copy=True)
    buffer.shares = shares


class Facts(NamedTuple):
    """What is right and wrong with an epoch, in numbers of all processes."""

    wrong: int  # ids out of range
    lost: int  # counts that 8 bits could not hold
    forwarded: int  # samples of the shares that were received, each once a pass
    asked: int  # processes whose sampler was asked before their first batch
    over: int  # samples recorded or received too often
    uncounted: int  # samples whose first mask had no gradient
    samples: int  # received or recorded
    finite: int  # with a finite value
    weightless: int
    nonfinite: int
    unexpected: int  # received, and not in the plan

    def check(self, n: int, epoch: int, *, needs_values: bool = True) -> None:
        """Refuse an epoch by its numbers, on all processes alike."""
        # Samples without any value that had a weight.
        silent = self.samples - self.finite - self.nonfinite - self.weightless
        if self.wrong:
            msg = f"`ids` must be in [0, {n}), got {self.wrong} others in epoch {epoch}"
        elif self.lost or self.over:
            msg = (
                f"an epoch may record a sample at most {_MAX_TIMES} times, got more in "
                f"epoch {epoch}; call `set_epoch` before each epoch"
            )
        elif not self.samples:
            msg = (
                f"an epoch must get samples, got none in epoch {epoch}; `deliver` and "
                "`add` each batch"
            )
        elif self.uncounted:
            msg = (
                "each tensor of `mask` must get a gradient in the backward, got none "
                f"at the first in epoch {epoch}"
            )
        elif needs_values and silent == self.samples - self.weightless > 0:
            msg = (
                f"an epoch must record values, got none from {silent} samples in epoch "
                f"{epoch}; call `backward` on what `loss` returns, and give it the "
                "`logits` or a `mask` that the losses depend on"
            )
            if self.weightless:
                msg += f"; {self.weightless} more had weight 0"
        else:
            if needs_values or self.nonfinite:
                received = self.samples, self.finite, self.weightless, self.nonfinite
                Received(*received).check(f" in epoch {epoch}")
            return
        raise EpochError(msg)


def collect(
    buffer: EpochBuffer,
    *,
    ranks: Ranks | None = None,
    shard: Shard | None = None,
    order: PlannedIds | None = None,
    expected: NDArray[np.uint8] | None = None,
    asked: bool = True,
) -> tuple[Recorded, Facts]:
    """Return what all processes recorded, and its facts, by one collective."""
    # `order` is the epoch's plan, and `expected` how often this process's share of it
    # holds each sample. The buffer stays as it is.
    n, group = buffer.n, None if ranks is None else ranks.group
    processes = 1 if ranks is None or shard is not None else ranks.world_size
    sums, counts, deliveries, weightless = (
        getattr(buffer, name)[:n] for name in _TENSORS[:4]
    )
    received, wrong, recorded = buffer.counters.tolist()
    lost = recorded - int(buffer.counts.sum(dtype=torch.int64))
    if received:
        lost += received - int(buffer.deliveries.sum(dtype=torch.int64))
    else:
        deliveries = counts  # a loop of one's own that delivers nothing
    if buffer.shares is not None:
        # A partner comes any number of times: its count is no more than a weight.
        shares, most = buffer.shares[:n], max(_MAX_TIMES // processes, 1)
        counts = torch.where(shares > 0, shares.ceil().clamp(1, most), 0.0)
        sums = torch.where(shares > 0, sums / shares * counts, sums)
    forwarded = 0
    if expected is not None:
        once = np.minimum(deliveries.cpu().numpy(), expected)
        forwarded = int(once.sum(dtype=np.int64))
    here = torch.tensor([wrong, lost, forwarded, int(asked)])
    parts = sums, counts, deliveries, weightless
    if processes > 1:
        parts, here = merge(parts, here, group=group)
    values, times, came, without = (part.cpu().numpy() for part in parts)
    planned = np.zeros(n, bool) if expected is None else expected > 0
    planned[[] if order is None else order] = True
    found = np.zeros(7, np.int64)
    for part in pieces(n):
        found += _count_facts(
            values[part], times[part], came[part], without[part], planned[part]
        )
    facts = np.array([*here.tolist(), *found.tolist()], np.int64)
    if shard is not None:
        facts = shard.all_sum(facts)
    counted = [part.astype(np.uint8, copy=False) for part in (times, came, without)]
    of_samples = dict(zip(_TENSORS, [values, *counted], strict=False))
    return cast("Recorded", of_samples), Facts(*facts.tolist())


def _count_facts(
    values: NDArray[np.float32],
    times: NDArray[Any],
    came: NDArray[Any],
    without: NDArray[Any],
    planned: NDArray[np.bool_],
) -> list[int]:
    """Return the facts of some samples, from `over` on."""
    valued, finite = times > 0, np.isfinite(values)
    facts = (
        (times > _MAX_TIMES) | (came > _MAX_TIMES),
        # The first of several masks counts; the others add their values alone.
        (values != 0) & ~valued,
        valued | (came > 0),
        valued & finite,
        (without > 0) & ~valued,
        valued & ~finite,
        (came > 0) & ~planned,
    )
    return [int(np.count_nonzero(fact)) for fact in facts]
