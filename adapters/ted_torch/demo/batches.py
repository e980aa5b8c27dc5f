"""Pictures in tensors, of which a batch is one indexing."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.utils.data import Dataset

__all__ = ["Batch", "Pictures", "join", "join_with_ids"]

Batch = tuple[Tensor, Tensor]
_SHIFT = 4


class Pictures(Dataset[Batch]):
    """Pictures kept as bytes on a device, standardised and augmented by the batch.

    Augmentation is a random crop of the picture with a margin of 4 black pixels, and
    a random flip, left for right; each sample gets its own.

    Parameters
    ----------
    x : ndarray of uint8, shape (n, H, W) or (n, H, W, 3)
        Pixels.
    y : ndarray of int64, shape (n,)
        Classes.
    mean, sd : ndarray of float, shape (C,)
        What is taken off each channel, then what divides it.
    device : torch.device or str
        Where the pictures are kept.
    seed : int, optional
        Seed of the augmentation; without it there is none.

    Notes
    -----
    The batch of ``__getitems__`` stands in its list once for each sample, because
    loaders and `ted_torch.WithIds` ask for items; `join` takes it out again.
    """

    def __init__(
        self,
        x: NDArray[np.uint8],
        y: NDArray[np.int64],
        *,
        mean: NDArray[np.float64],
        sd: NDArray[np.float64],
        device: torch.device | str = "cpu",
        seed: int | None = None,
    ) -> None:
        margin = 0 if seed is None else _SHIFT
        pixels = x.reshape(*x.shape[:3], -1)
        sides = ((0, 0), (margin, margin), (margin, margin), (0, 0))
        self._x = torch.as_tensor(np.pad(pixels, sides), device=device)
        self._y = torch.as_tensor(y, device=device)
        self._mean = torch.as_tensor(mean, dtype=torch.float32, device=device)
        self._sd = torch.as_tensor(sd, dtype=torch.float32, device=device)
        self._rows = torch.arange(x.shape[1], device=device)
        self._columns = torch.arange(x.shape[2], device=device)
        self._dice = None if seed is None else torch.Generator().manual_seed(seed)

    def __len__(self) -> int:
        """Count the pictures."""
        return len(self._y)

    def __getitem__(self, index: int) -> Batch:
        """Return a picture of shape (C, H, W) and its class."""
        x, y = self.take(torch.tensor([index]))
        return x[0], y[0]

    def __getitems__(self, indices: Sequence[int]) -> list[Batch]:
        """Return one batch, as many times as it has samples."""
        return [self.take(torch.tensor(indices))] * len(indices)

    def take(self, ids: Tensor) -> Batch:
        """Return the pictures of these ids.

        Parameters
        ----------
        ids : Tensor of int64, shape (B,)
            Which ones.

        Returns
        -------
        x : Tensor of float32, shape (B, C, H, W)
            Pictures, standardised, in the channels-last format.
        y : Tensor of int64, shape (B,)
            Classes.
        """
        ids = ids.to(self._x.device)
        pixels = self._x[ids] if self._dice is None else self._augmented(ids)
        x = (pixels.float() - self._mean) / self._sd
        return x.permute(0, 3, 1, 2), self._y[ids]

    def _augmented(self, ids: Tensor) -> Tensor:
        high = torch.tensor([2 * _SHIFT + 1, 2 * _SHIFT + 1, 2])
        drawn = torch.rand((len(ids), 3), generator=self._dice) * high
        down, right, flip = drawn.long().to(ids.device).T
        columns = torch.where(
            flip[:, None] == 1, self._columns.flip(0), self._columns
        ) + right.unsqueeze(1)
        rows = self._rows + down.unsqueeze(1)
        return self._x[ids[:, None, None], rows[:, :, None], columns[:, None, :]]


def join(items: Sequence[Batch]) -> Batch:
    """Return the batch that `Pictures` handed out; a loader's ``collate_fn``.

    Parameters
    ----------
    items : sequence of (Tensor, Tensor)
        One batch, once for each sample.

    Returns
    -------
    tuple of Tensor
        The batch.
    """
    return items[0]


def join_with_ids(items: Sequence[tuple[int, Batch]]) -> tuple[Tensor, Batch]:
    """Return the ids and the batch, with ``ted.dataset`` between; see `join`.

    Parameters
    ----------
    items : sequence of (int, (Tensor, Tensor))
        Ids, each beside the whole batch.

    Returns
    -------
    ids : Tensor of int64, shape (B,)
        Ids.
    batch : tuple of Tensor
        The batch.
    """
    return torch.tensor([k for k, _ in items]), items[0][1]
