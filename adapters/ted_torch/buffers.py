"""The buffer of one open epoch, on the device."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from ted_core import EpochError

__all__ = ["EpochBuffer"]


class EpochBuffer:
    """What one epoch records, kept on the device until the epoch closes.

    Parameters
    ----------
    n : int
        Samples in the data set; slot n takes ids that are out of range.
    device : torch.device or str, default "cpu"
        Where the network's outputs live.

    Attributes
    ----------
    sums : Tensor of float32, shape (n + 1,)
        Sum of each sample's values; not finite where any value was not.
    counts : Tensor of uint8, shape (n + 1,)
        Times each sample was recorded.
    meters : Tensor of int64, shape (3,)
        Samples received by the loss, ids out of range, values recorded.

    Notes
    -----
    5 bytes a sample. No operation of a step waits for the device.

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
        self.n = n
        self.sums = torch.zeros(n + 1, dtype=torch.float32, device=device)
        self.counts = torch.zeros(n + 1, dtype=torch.uint8, device=device)
        self.meters = torch.zeros(3, dtype=torch.int64, device=device)

    def slots(self, ids: Tensor) -> Tensor:
        """Bring a batch's ids to slots of the buffer.

        Parameters
        ----------
        ids : Tensor of int, shape (B,)
            Sample ids, on any device.

        Returns
        -------
        Tensor of int64, shape (B,)
            Slots on the buffer's device; n for an id out of [0, n), which is
            counted.
        """
        ids = ids.to(self.sums.device, torch.int64, non_blocking=True)
        wrong = (ids < 0) | (ids >= self.n)
        self.meters[1].add_(wrong.sum())
        return torch.where(wrong, self.n, ids)

    def add(self, slots: Tensor, values: Tensor, valid: Tensor) -> None:
        """Add the values of a batch.

        Parameters
        ----------
        slots : Tensor of int64, shape (B,)
            What :meth:`slots` returned.
        values : Tensor of float, shape (B,)
            Mask gradients.
        valid : Tensor of bool, shape (B,)
            Which of them are observations.
        """
        self.sums.index_add_(0, slots, torch.where(valid, values, 0.0).float())
        self.counts.index_add_(0, slots, valid.to(torch.uint8))
        self.meters[2].add_(valid.sum())

    def read(self, epoch: int) -> tuple[NDArray[np.float32], NDArray[np.uint8]]:
        """Bring the epoch's sums and counts to NumPy, once it is over.

        Parameters
        ----------
        epoch : int
            Its number, for the errors.

        Returns
        -------
        sums : ndarray of float32, shape (n,)
            Sum of each sample's values.
        counts : ndarray of uint8, shape (n,)
            Times each sample was recorded.

        Raises
        ------
        EpochError
            An id was out of range, nothing or nothing finite was recorded, or a
            sample more than 255 times.

        Notes
        -----
        Waits for the device. O(n).
        """
        received, wrong, recorded = self.meters.tolist()
        if wrong:
            msg = f"`ids` must be in [0, {self.n}), got {wrong} others in epoch {epoch}"
            raise EpochError(msg)
        if not recorded:
            msg = (
                f"an epoch must record values, got none from {received} samples in "
                f"epoch {epoch}; `mask` must be a tensor that the loss depends on, and "
                "`backward` must run"
            )
            raise EpochError(msg)
        sums, counts = self.sums[: self.n].cpu().numpy(), self.counts.cpu().numpy()
        if int(counts.sum(dtype=np.int64)) != recorded:
            msg = (
                f"an epoch may record a sample at most 255 times, got more in epoch "
                f"{epoch}; call `set_epoch` before each epoch"
            )
            raise EpochError(msg)
        if not np.isfinite(sums[counts[: self.n] > 0]).any():
            msg = f"an epoch must record finite values, got none in epoch {epoch}"
            raise EpochError(msg)
        return sums, counts[: self.n]

    def load(self, tensors: Mapping[str, Tensor]) -> None:
        """Take over sums, counts and meters.

        Parameters
        ----------
        tensors : mapping of str to Tensor
            One of each name, on any device.
        """
        self.sums.copy_(tensors["sums"])
        self.counts.copy_(tensors["counts"])
        self.meters.copy_(tensors["meters"])

    def clear(self) -> None:
        """Forget everything, for the next epoch."""
        self.sums.zero_()
        self.counts.zero_()
        self.meters.zero_()
