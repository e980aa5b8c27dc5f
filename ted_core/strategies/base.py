"""What a strategy is: which samples an epoch keeps, and with which weight."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, ClassVar, Protocol, runtime_checkable

import numpy as np
from numpy.typing import NDArray

from ted_core.reductions import Reduction
from ted_core.selection.randomness import SELECT, draw_key, stream
from ted_core.selection.sharded import Shard, top_of_all
from ted_core.selection.top_k import highest_hashes, top_ids
from ted_core.typing import Ids, Scores, id_dtype

__all__ = [
    "Ranked",
    "Request",
    "Selection",
    "Strategy",
    "draw",
]


@dataclass(frozen=True)
class Request:
    """All that a strategy may look at when it selects an epoch's samples.

    Parameters
    ----------
    n : int
        Samples in the data set; of several ranks with shards, this one's.
    count : int
        Samples the schedule keeps, of all ranks; a strategy with a known count returns
        as many.
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
    shard : Shard, optional
        This rank's part, where all ranks choose together: then they all call the same
        of :meth:`top`, :meth:`draw` and the sums of the shard, in the same order.
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
    shard: Shard | None = None

    @property
    def total(self) -> int:
        """Samples of all ranks."""
        return self.n if self.shard is None else self.shard.total

    @property
    def all_ids(self) -> Ids:
        """Ids 0 to n - 1."""
        return np.arange(self.n, dtype=id_dtype(self.n))

    def named(self, ids: Ids) -> Ids:
        """Return what is hashed of some ids: their numbers among all samples.

        Parameters
        ----------
        ids : ndarray of int, shape (m,)
            Ids on this rank.

        Returns
        -------
        ndarray of int, shape (m,)
            The same without shards.
        """
        return ids if self.shard is None else self.shard.ids(ids)

    def together(self, *numbers: float) -> list[float]:
        """Return the sums of some numbers over the ranks.

        Parameters
        ----------
        *numbers : float
            This rank's.

        Returns
        -------
        list of float
            The same on every rank.
        """
        if self.shard is None:
            return list(numbers)
        sums: list[float] = self.shard.all_sum(np.array(numbers)).tolist()
        return sums

    def top(
        self, keys: Scores, count: int | None = None, *, epoch: int | None = None
    ) -> Ids:
        """Return the ids of the highest keys of all ranks, as many as `count`.

        Parameters
        ----------
        keys : ndarray of float32, shape (n,)
            What is ranked; ``inf`` above all.
        count : int, optional
            Samples of all ranks; the request's by default.
        epoch : int, optional
            Key of the hash among equal keys; the request's by default.

        Returns
        -------
        ndarray of int, shape (k,)
            Those of this rank, ascending.
        """
        count = self.count if count is None else count
        epoch = self.epoch if epoch is None else epoch
        if self.shard is None:
            return top_ids(keys, count, seed=self.seed, epoch=epoch)
        if count == self.total:
            return self.all_ids
        ids, all_sum = self.named(self.all_ids), self.shard.all_sum
        return self.all_ids[top_of_all(keys, ids, count, self.seed, epoch, all_sum)]

    def draw(self, ids: Ids, count: int, *, seed: int | None = None) -> Ids:
        """Return those with the highest hashes of all ranks' `ids`: a uniform draw.

        Parameters
        ----------
        ids : ndarray of int, shape (m,)
            Ids to draw from, ascending.
        count : int
            Samples of all ranks.
        seed : int, optional
            Key of the hash; the request's by default.

        Returns
        -------
        ndarray of int, shape (k,)
            Those of this rank, ascending.
        """
        seed = self.seed if seed is None else seed
        if self.shard is None:
            return highest_hashes(ids, count, seed=seed, epoch=self.epoch)
        named, all_sum = self.named(ids), self.shard.all_sum
        return ids[top_of_all(None, named, count, seed, self.epoch, all_sum)]

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
    """What the pruner asks of a strategy; its repr names its parameters.

    With a class attribute ``over_shards = True`` it says that `select` compares samples
    by `Request.top`, `Request.draw` and sums alone, and so chooses over all ranks.
    """

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


def draw(ids: Ids, count: int, request: Request) -> Ids:
    """Draw `count` of `ids` uniformly without replacement, independent of ties.

    Parameters
    ----------
    ids : ndarray of int, shape (m,)
        Distinct sample ids, ascending.
    count : int
        Ids to draw, of all ranks together.
    request : Request
        Key of the draw, and the ranks.

    Returns
    -------
    ndarray of int, shape (k,)
        The drawn ids of this rank, ascending; the same however the ranks share them.

    Raises
    ------
    ValueError, TypeError
        An argument is out of its range.

    Notes
    -----
    O(m). Samples left over by a tie have low tie hashes; this key is another, so
    that they are drawn as often as all others.

    Examples
    --------
    >>> import numpy as np
    >>> from ted_core import Request
    >>> from ted_core.strategies.base import draw
    >>> request = Request(9, 4, 0.5, epoch=1, seed=0, ranking=lambda: np.zeros(9))
    >>> draw(np.arange(5, 9), 4, request).tolist()
    [5, 6, 7, 8]
    """
    return request.draw(ids, count, seed=draw_key(request.seed, request.epoch))


class Ranked:
    """Facts of a strategy that keeps as many samples as the schedule says, by score.

    Examples
    --------
    >>> from ted_core.strategies.base import Ranked
    >>> Ranked().uses_scores, Ranked().reduction
    (True, None)
    """

    over_shards: ClassVar[bool] = True

    @property
    def uses_scores(self) -> bool:
        """An epoch without values is an error."""
        return True

    @property
    def known_count(self) -> bool:
        """The schedule decides."""
        return True

    @property
    def scales_loss(self) -> bool:
        """The loss is divided by r_t (Eq. 23)."""
        return True

    @property
    def reduction(self) -> Reduction | None:
        """The signal's own."""
        return None
