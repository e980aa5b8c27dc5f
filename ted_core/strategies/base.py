"""What a strategy is: which samples an epoch keeps, and with which weight."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Protocol, runtime_checkable

import numpy as np
from numpy.typing import NDArray

from ted_core.randomness import SELECT, stream
from ted_core.reductions import Reduction
from ted_core.typing import Ids, Scores

__all__ = ["Request", "Selection", "Strategy"]


@dataclass(frozen=True)
class Request:
    """All that a strategy may look at when it selects an epoch's samples.

    Parameters
    ----------
    n : int
        Samples in the data set.
    count : int
        Samples the schedule keeps; a strategy with a known count returns as many.
    keep_ratio : float
        Nominal keep ratio r_t.
    epoch, seed : int
        Key of the hash and of :meth:`generator`.
    ranking : callable
        Returns float32, shape (n,): the scores, ``inf`` where never presented;
        read-only, perhaps the state's own column.
    columns : mapping of str to ndarray
        The reduction's state columns, shape (n,); read-only by contract.
    labels : ndarray of int, shape (n,), or None
        Class of each sample.
    multiple_of : int, default 1
        `count` is rounded up to a multiple of this; a strategy that finds its own
        count does the same.
    """

    n: int
    count: int
    keep_ratio: float
    epoch: int
    seed: int
    ranking: Callable[[], Scores]
    columns: Mapping[str, NDArray[Any]] = field(default_factory=dict)
    labels: NDArray[np.signedinteger[Any]] | None = None
    multiple_of: int = 1

    def generator(self) -> np.random.Generator:
        """Return the epoch's stream for draws of the strategy."""
        return stream(self.seed, purpose=SELECT, epoch=self.epoch)


@dataclass(frozen=True)
class Selection:
    """The kept samples.

    Parameters
    ----------
    kept : ndarray of int32 or int64, shape (k,)
        Ids, ascending and distinct.
    weights : ndarray of float32, shape (k,), or None
        Weight of each kept sample's loss, aligned with `kept`.
    """

    kept: Ids
    weights: NDArray[np.float32] | None = None


@runtime_checkable
class Strategy(Protocol):
    """What the pruner asks of a strategy; its repr names its parameters."""

    @property
    def uses_scores(self) -> bool:
        """Whether an epoch without values is an error."""

    @property
    def known_count(self) -> bool:
        """Whether the schedule alone decides how many samples are kept."""

    @property
    def scales_loss(self) -> bool:
        """Whether the loss is divided by the keep ratio (Eq. 23)."""

    @property
    def reduction(self) -> Reduction | None:
        """The reduction the strategy needs, or None for the signal's own."""

    def check(
        self, n: int, smallest: int, labels: NDArray[np.signedinteger[Any]] | None
    ) -> None:
        """Refuse a data set that the strategy can't serve.

        `smallest` is the least number of samples that an epoch keeps.
        """

    def select(self, request: Request) -> Selection:
        """Return the kept samples of one epoch."""
