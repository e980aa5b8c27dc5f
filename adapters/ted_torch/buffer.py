"""The buffer of one open epoch, on the device."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, TypeAlias

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from ted_core import EpochError, Shard
from ted_torch.ranks import Ranks, merge

__all__ = ["EpochBuffer"]

Indices: TypeAlias = Tensor | Sequence[tuple[Tensor, Tensor]]
"""Indices of a batch, (B,); or one pair (indices, weights) for each mixed part."""

_MAX_SAMPLES = 2**53
_MAX_TIMES = 255


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
    counts : Tensor of uint8, shape (n + 1,)
        Times each sample was recorded.
    shares : Tensor of float32, shape (n + 1,), or None
        Sum of each sample's weights, from the first mixed batch on.
    counters : Tensor of int64, shape (3,)
        Samples received by the loss, ids out of range, values recorded.

    Raises
    ------
    ValueError
        `n` is no integer in [1, 2^53].

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
        whole = isinstance(n, int | np.integer) and not isinstance(n, bool)
        if not whole or not 1 <= n <= _MAX_SAMPLES:
            msg = f"`n` must be an integer in [1, {_MAX_SAMPLES}], got {n!r}"
            raise ValueError(msg)
        self.n = n = int(n)
        self.sums = torch.zeros(n + 1, dtype=torch.float32, device=device)
        self.counts = torch.zeros(n + 1, dtype=torch.uint8, device=device)
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
        if not isinstance(ids, Tensor):
            return [(self._indices(part), weights) for part, weights in ids]
        return self._indices(ids)

    def _indices(self, ids: Tensor) -> Tensor:
        """Return the indices of one part of a batch."""
        ids = ids.to(self.sums.device, torch.int64, non_blocking=True)
        wrong = (ids < 0) | (ids >= self.n)
        self.counters[1].add_(wrong.sum())
        return torch.where(wrong, self.n, ids)

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
            self._add(indices, values, counted)
            if self.shares is not None:
                self.shares.index_add_(0, indices, counted.float())
            return
        if self.shares is None:
            # What was recorded before weighs 1.
            self.shares = self.counts.float()
        for part, given in indices:
            weights = given.float().to(device)
            drawn = weights != 0
            self._add(part, torch.where(drawn, values * weights, 0.0), counted & drawn)
            self.shares.index_add_(0, part, weights * counted)

    def _add(self, indices: Tensor, values: Tensor, counted: Tensor) -> None:
        """Add values that are weighted already."""
        self.sums.index_add_(0, indices, values)
        self.counts.index_add_(0, indices, counted.to(torch.uint8))
        self.counters[2].add_(counted.sum())

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
            Processes whose buffers are added up: one collective, in which all take
            part.
        optional : bool, default False
            Whether an epoch of which no sample was received is none to complain of.
        shard : Shard, optional
            This process's own samples; counters alone are added up.

        Returns
        -------
        sums : ndarray of float32, shape (n,)
            Sum of each sample's values; with mixed batches their weighted mean, times
            the count.
        counts : ndarray of uint8, shape (n,)
            Times each sample was recorded. On the CPU both may be the buffer's own.

        Raises
        ------
        EpochError
            On every process alike: an id was out of range, nothing or nothing finite
            was recorded, a sample more than 255 times, or a mask had no gradient.

        Notes
        -----
        Waits for the device. O(n); 8 n bytes pass through a collective, or 56 of them.
        """
        sums, counts = self.sums[: self.n], self.counts[: self.n]
        if self.shares is not None:
            means = sums / self.shares[: self.n]
            sums = torch.where(counts > 0, means * counts, sums)
        lost = self.counters[2] - self.counts.sum(dtype=torch.int64)
        counters = torch.cat([self.counters, lost[None]])
        if shard is None and ranks is not None and ranks.world_size > 1:
            sums, counts, counters = merge(sums, counts, counters, group=ranks.group)
        values, times = sums.cpu().numpy(), counts.cpu().numpy()
        facts = _facts(values, times, counters)
        facts = facts if shard is None else shard.all_sum(facts)
        if facts[0] or not optional:
            _check(facts.tolist(), self.n, epoch)
        return values, times.astype(np.uint8, copy=False)

    def load(self, tensors: Mapping[str, Tensor]) -> None:
        """Take over what was recorded.

        Parameters
        ----------
        tensors : mapping of str to Tensor
            ``sums``, ``counts``, ``counters``, and ``shares`` if there are any, on any
            device; copied.
        """
        self.sums.copy_(tensors["sums"])
        self.counts.copy_(tensors["counts"])
        self.counters.copy_(tensors["counters"])
        shares = tensors.get("shares")
        if shares is not None:
            shares = shares.to(self.sums.device, copy=True)
        self.shares = shares

    def clear(self) -> None:
        """Forget everything, for the next epoch."""
        self.sums.zero_()
        self.counts.zero_()
        self.counters.zero_()
        if self.shares is not None:
            self.shares.zero_()


def _facts(
    sums: NDArray[np.float32], counts: NDArray[Any], counters: Tensor
) -> NDArray[np.int64]:
    """Return what is wrong and right with an epoch, in numbers to be added up."""
    seen = counts > 0
    over = int(np.count_nonzero(counts > _MAX_TIMES))
    # The first of several masks counts; the others add their values alone.
    uncounted = int(np.count_nonzero(sums[~seen]))
    finite = int(np.count_nonzero(np.isfinite(sums[seen])))
    return np.array([*counters.tolist(), over, uncounted, finite], np.int64)


def _check(facts: Sequence[int], n: int, epoch: int) -> None:
    """Refuse an epoch by its numbers, on all processes alike."""
    received, wrong, recorded, lost, over, uncounted, finite = facts
    if wrong:
        msg = f"`ids` must be in [0, {n}), got {wrong} others in epoch {epoch}"
    elif not recorded:
        msg = (
            f"an epoch must record values, got none from {received} samples in "
            f"epoch {epoch}; `mask` must be a tensor that the loss depends on, and "
            "`backward` must run"
        )
    elif lost or over:
        msg = (
            f"an epoch may record a sample at most {_MAX_TIMES} times, got more in "
            f"epoch {epoch}; call `set_epoch` before each epoch"
        )
    elif uncounted:
        msg = (
            "each tensor of `mask` must get a gradient in the backward, got none at "
            f"the first in epoch {epoch}"
        )
    elif not finite:
        msg = f"an epoch must record finite values, got none in epoch {epoch}"
    else:
        return
    raise EpochError(msg)
