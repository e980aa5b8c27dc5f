"""Pictures by their ids, and the plain batches of full training."""

from __future__ import annotations

from typing import Any

import keras
import numpy as np
from numpy.typing import NDArray

__all__ = ["Pictures", "Shuffled"]

_SHIFT = 4


class Pictures:
    """Pictures kept as bytes, standardised and augmented by the batch.

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
    seed : int, optional
        Seed of the augmentation; without it there is none.

    Examples
    --------
    >>> import numpy as np
    >>> from ted_keras.demo.batches import Pictures
    >>> x = np.arange(128, dtype=np.uint8).reshape(2, 8, 8)
    >>> pictures = Pictures(x, np.array([3, 4]), mean=np.zeros(1), sd=np.ones(1))
    >>> found, labels = pictures(np.array([1]))
    >>> found.shape, labels.tolist()
    ((1, 8, 8, 1), [4])
    """

    def __init__(
        self,
        x: NDArray[np.uint8],
        y: NDArray[np.int64],
        *,
        mean: NDArray[np.float64],
        sd: NDArray[np.float64],
        seed: int | None = None,
    ) -> None:
        margin = 0 if seed is None else _SHIFT
        pixels = x.reshape(*x.shape[:3], -1)
        sides = ((0, 0), (margin, margin), (margin, margin), (0, 0))
        self._x, self._y = np.pad(pixels, sides), y
        self._mean, self._sd = mean.astype(np.float32), sd.astype(np.float32)
        self._rows, self._columns = np.arange(x.shape[1]), np.arange(x.shape[2])
        self._dice = None if seed is None else np.random.default_rng(seed)

    def __len__(self) -> int:
        """Count the pictures."""
        return len(self._y)

    def __call__(
        self, ids: NDArray[np.int64]
    ) -> tuple[NDArray[np.float32], NDArray[np.int64]]:
        """Return the pictures of these ids.

        Parameters
        ----------
        ids : ndarray of int64, shape (B,)
            Which ones.

        Returns
        -------
        x : ndarray of float32, shape (B, H, W, C)
            Pictures, standardised.
        y : ndarray of int64, shape (B,)
            Classes.
        """
        pixels = self._x[ids]
        if self._dice is not None:
            pixels = self._augmented(ids, self._dice)
        return (pixels.astype(np.float32) - self._mean) / self._sd, self._y[ids]

    def _augmented(
        self, ids: NDArray[np.int64], dice: np.random.Generator
    ) -> NDArray[np.uint8]:
        down, right = dice.integers(0, 2 * _SHIFT + 1, (2, len(ids), 1))
        flip = dice.integers(0, 2, (len(ids), 1)) == 1
        columns = np.where(flip, self._columns[::-1], self._columns) + right
        rows = self._rows + down
        places = ids[:, None, None], rows[:, :, None], columns[:, None, :]
        found: NDArray[np.uint8] = self._x[places]
        return found


class Shuffled(keras.utils.PyDataset):  # type: ignore[misc]
    """All pictures in a new order each epoch; nothing of TED takes part.

    Parameters
    ----------
    pictures : Pictures
        Data.
    batch_size : int
        Samples of a batch.
    seed : int
        Seed of the orders.
    """

    def __init__(self, pictures: Pictures, *, batch_size: int, seed: int) -> None:
        super().__init__()
        self._pictures, self._batch_size = pictures, batch_size
        self._dice = np.random.default_rng(seed)
        self._order = self._dice.permutation(len(pictures))

    @property
    def num_batches(self) -> int:
        """Batches of an epoch."""
        return -(-len(self._order) // self._batch_size)

    def __getitem__(self, index: int) -> Any:
        """Return a batch."""
        first = index * self._batch_size
        return self._pictures(self._order[first : first + self._batch_size])

    def on_epoch_end(self) -> None:
        """Shuffle anew."""
        self._order = self._dice.permutation(len(self._order))
