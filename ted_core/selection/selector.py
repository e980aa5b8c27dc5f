"""The seam between strategies and the data: choose and add up, wherever it lies."""

from __future__ import annotations

from typing import Any, Protocol

import numpy as np
from numpy.typing import ArrayLike, NDArray

from ted_core.selection.top_k import highest_hashes, median, mid_ranks, top_ids
from ted_core.typing import Ids, Scores

__all__ = ["LocalSelector", "Selector"]


class Selector(Protocol):
    """What a strategy may ask about the samples that it chooses from.

    Over shards every process makes the same calls in the same order, and gets back
    what concerns its own samples.
    """

    @property
    def total(self) -> int:
        """Samples to choose from, of all processes that choose together."""

    def global_ids(self, ids: Ids) -> Ids:
        """Return the ids that samples of this process have among all."""

    def top(self, keys: Scores, count: int, *, seed: int, epoch: int) -> Ids:
        """Return the ids here of the `count` highest keys of all, ascending."""

    def draw(self, ids: Ids, count: int, *, seed: int, epoch: int) -> Ids:
        """Return those of `ids` with the `count` highest hashes of all, ascending."""

    def median(self, values: Scores) -> np.float32:
        """Return the median of all values, which are not NaN; 0 if there are none."""

    def mid_ranks(self, scores: Scores) -> NDArray[np.float64]:
        """Return the share of all scores below each, half of the equal ones counted."""

    def sum(self, numbers: ArrayLike) -> NDArray[Any]:
        """Return the sum of each number over the processes."""

    def gather(self, numbers: ArrayLike) -> NDArray[Any]:
        """Return the numbers of every process, shape (processes, k)."""


class LocalSelector:
    """Choose among samples that this process holds whole.

    Parameters
    ----------
    n : int
        Samples.
    """

    def __init__(self, n: int) -> None:
        self.total = n

    def global_ids(self, ids: Ids) -> Ids:
        """Return the ids as they are."""
        return ids

    def top(self, keys: Scores, count: int, *, seed: int, epoch: int) -> Ids:
        """Return the ids of the `count` highest keys."""
        return top_ids(keys, count, seed=seed, epoch=epoch)

    def draw(self, ids: Ids, count: int, *, seed: int, epoch: int) -> Ids:
        """Return those of `ids` with the `count` highest hashes."""
        return highest_hashes(ids, count, seed=seed, epoch=epoch)

    def median(self, values: Scores) -> np.float32:
        """Return the median."""
        return median(values)

    def mid_ranks(self, scores: Scores) -> NDArray[np.float64]:
        """Return each score's exact mid-rank."""
        return mid_ranks(scores)

    def sum(self, numbers: ArrayLike) -> NDArray[Any]:
        """Return the numbers as they are."""
        return np.asarray(numbers)

    def gather(self, numbers: ArrayLike) -> NDArray[Any]:
        """Return the numbers of this one process."""
        return np.asarray(numbers)[None]
