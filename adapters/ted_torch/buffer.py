"""The buffer of one open epoch, on the device."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, TypeAlias

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from ted_core import EpochError, Shard
from ted_torch._validation import check_size
from ted_torch.ranks import Ranks, merge

__all__ = ["EpochBuffer", "Slots"]

Slots: TypeAlias = Tensor | Sequence[tuple[Tensor, Tensor]]
"""Slots of a batch, (B,); or one pair (slots, weights) for each mixed part."""

_MOST_SEEN = 255


class EpochBuffer:
    """What one epoch records, kept on the device until the epoch closes.

    Parameters
    ----------
    n : int
        Samples in the data set; slot n takes ids that are out of range.
    device : torch.device or str, default "cpu"
        Where the network's outputs live; with another one every step waits.

    Attributes
    ----------
    sums : Tensor of float32, shape (n + 1,)
        Sum of each sample's values; not finite where any value was not.
    counts : Tensor of uint8, shape (n + 1,)
        Times each sample was recorded.
    shares : Tensor of float32, shape (n + 1,), or None
        Sum of each sample's weights, from the first mixed batch on.
    meters : Tensor of int64, shape (3,)
        Samples received by the loss, ids out of range, values recorded.

    Notes
    -----
    5 bytes a sample, 9 with mixed batches. No step waits for the device.

    Examples
    --------
    >>> import torch
    >>> from ted_torch import EpochBuffer
    >>> buffer = EpochBuffer(3)
    >>> buffer.add(torch.tensor([2]), torch.tensor([0.5]), torch.tensor([True]))
    >>> buffer.sums.tolist(), buffer.counts.tolist()
    ([0.0, 0.0, 0.5, 0.0], [0, 0, 1, 0])
    """

    def __init__(self, n: int, *, device: torch.device | str = "cpu") -> None:
        self.n = n = check_size(n)
        self.sums = torch.zeros(n + 1, dtype=torch.float32, device=device)
        self.counts = torch.zeros(n + 1, dtype=torch.uint8, device=device)
        self.shares: Tensor | None = None
        self.meters = torch.zeros(3, dtype=torch.int64, device=device)

    def slots(self, ids: Tensor | Sequence[tuple[Tensor, Tensor]]) -> Slots:
        """Bring a batch's ids to slots of the buffer.

        Parameters
        ----------
        ids : Tensor of int, shape (B,), or sequence of pairs (ids, weights)
            Sample ids, on any device; for mixed batches one pair for each part.

        Returns
        -------
        Tensor of int64, shape (B,), or list of pairs (slots, weights)
            Slots on the buffer's device; n for an id out of [0, n), which is
            counted.
        """
        if not isinstance(ids, Tensor):
            return [(self._slots(part), weights) for part, weights in ids]
        return self._slots(ids)

    def _slots(self, ids: Tensor) -> Tensor:
        ids = ids.to(self.sums.device, torch.int64, non_blocking=True)
        wrong = (ids < 0) | (ids >= self.n)
        self.meters[1].add_(wrong.sum())
        return torch.where(wrong, self.n, ids)

    def add(self, slots: Slots, values: Tensor, counted: Tensor) -> None:
        """Add the values of a batch.

        Parameters
        ----------
        slots : Tensor of int64, shape (B,), or sequence of pairs (slots, weights)
            What :meth:`slots` returned.
        values : Tensor of float, shape (B,)
            Values to add; 0 where there is none.
        counted : Tensor of bool, shape (B,)
            Which samples count as recorded.
        """
        device = self.sums.device
        values, counted = values.float().to(device), counted.to(device)
        if isinstance(slots, Tensor):
            self._add(slots, values, counted)
            if self.shares is not None:
                self.shares.index_add_(0, slots, counted.float())
            return
        if self.shares is None:
            # What was recorded before weighs 1.
            self.shares = self.counts.float()
        for part, given in slots:
            weights = given.float().to(device)
            drawn = weights != 0
            self._add(part, torch.where(drawn, values * weights, 0.0), counted & drawn)
            self.shares.index_add_(0, part, weights * counted)

    def _add(self, slots: Tensor, values: Tensor, counted: Tensor) -> None:
        self.sums.index_add_(0, slots, values)
        self.counts.index_add_(0, slots, counted.to(torch.uint8))
        self.meters[2].add_(counted.sum())

    def totals(self) -> Tensor:
        """Return the sum of values of each sample, as if its weights were all 1.

        Returns
        -------
        Tensor of float32, shape (n,)
            ``sums``; with mixed batches the weighted mean, times the count.
        """
        sums = self.sums[: self.n]
        if self.shares is None:
            return sums
        counts = self.counts[: self.n]
        means = sums / self.shares[: self.n]
        return torch.where(counts > 0, means * counts, sums)

    def read(
        self,
        epoch: int,
        *,
        ranks: Ranks | None = None,
        optional: bool = False,
        shard: Shard | None = None,
    ) -> tuple[NDArray[np.float32], NDArray[np.uint8]]:
        """Bring the epoch's sums and counts to NumPy, once it is over.

        Parameters
        ----------
        epoch : int
            Its number, for the errors.
        ranks : Ranks, optional
            Ranks whose buffers are added up: one collective, in which all take part.
        optional : bool, default False
            Whether an epoch of which no sample was received is none to complain of.
        shard : Shard, optional
            This rank's own samples; counters alone are added up.

        Returns
        -------
        sums : ndarray of float32, shape (n,)
            Sum of each sample's values.
        counts : ndarray of uint8, shape (n,)
            Times each sample was recorded. On the CPU both may be the buffer's own.

        Raises
        ------
        EpochError
            On every rank alike: an id was out of range, nothing or nothing finite was
            recorded, a sample more than 255 times, or a mask had no gradient.

        Notes
        -----
        Waits for the device. O(n); 8 n bytes pass through a collective, or 56 of them.
        """
        sums, counts = self.totals(), self.counts[: self.n]
        lost = self.meters[2] - self.counts.sum(dtype=torch.int64)
        meters = torch.cat([self.meters, lost[None]])
        if shard is None and ranks is not None and ranks.world_size > 1:
            sums, counts, meters = merge(sums, counts, meters, group=ranks.group)
        values, times = sums.cpu().numpy(), counts.cpu().numpy()
        facts = _facts(values, times, meters)
        facts = facts if shard is None else shard.all_sum(facts)
        if facts[0] or not optional:
            _check(facts.tolist(), self.n, epoch)
        return values, times.astype(np.uint8, copy=False)

    def load(self, tensors: Mapping[str, Tensor]) -> None:
        """Take over sums, counts, meters, and shares if there are any.

        Parameters
        ----------
        tensors : mapping of str to Tensor
            One of each name, on any device.
        """
        self.sums.copy_(tensors["sums"])
        self.counts.copy_(tensors["counts"])
        self.meters.copy_(tensors["meters"])
        shares = tensors.get("shares")
        self.shares = None if shares is None else shares.to(self.sums.device)

    def clear(self) -> None:
        """Forget everything, for the next epoch."""
        self.sums.zero_()
        self.counts.zero_()
        self.meters.zero_()
        if self.shares is not None:
            self.shares.zero_()


def _facts(
    sums: NDArray[np.float32], counts: NDArray[Any], meters: Tensor
) -> NDArray[np.int64]:
    """Return what is wrong and right with an epoch, in numbers to be added up."""
    seen = counts > 0
    over = int(np.count_nonzero(counts > _MOST_SEEN))
    blind = int(np.count_nonzero(sums[~seen]))
    finite = int(np.count_nonzero(np.isfinite(sums[seen])))
    return np.array([*meters.tolist(), over, blind, finite], np.int64)


def _check(facts: Sequence[int], n: int, epoch: int) -> None:
    """Refuse an epoch by its numbers, on all ranks alike."""
    received, wrong, recorded, lost, over, blind, finite = facts
    if wrong:
        msg = f"`ids` must be in [0, {n}), got {wrong} others in epoch {epoch}"
        raise EpochError(msg)
    if not recorded:
        msg = (
            f"an epoch must record values, got none from {received} samples in "
            f"epoch {epoch}; `mask` must be a tensor that the loss depends on, and "
            "`backward` must run"
        )
        raise EpochError(msg)
    if lost or over:
        msg = (
            f"an epoch may record a sample at most {_MOST_SEEN} times, got more in "
            f"epoch {epoch}; call `set_epoch` before each epoch"
        )
        raise EpochError(msg)
    if blind:
        msg = (
            "each tensor of `mask` must get a gradient in the backward, got none at "
            f"the first in epoch {epoch}"
        )
        raise EpochError(msg)
    if not finite:
        msg = f"an epoch must record finite values, got none in epoch {epoch}"
        raise EpochError(msg)
