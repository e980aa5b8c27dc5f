"""What a strategy is: which samples an epoch keeps, with which weight, by class."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Protocol, TypeAlias, runtime_checkable

import numpy as np
from numpy.typing import NDArray

from ted_core._validation import set_real
from ted_core.reductions import Reduction
from ted_core.selection._randomness import SELECT, first_word, stream, tie_hash
from ted_core.selection.sharded import Selector
from ted_core.typing import Floats, Ids, Scores, id_dtype

__all__ = ["Request", "Selection", "Strategy"]

Labels: TypeAlias = NDArray[np.signedinteger[Any]]  # class of each sample, shape (n,)


@dataclass(frozen=True)
class Request:
    """All that a strategy may look at when it selects an epoch's samples.

    Parameters
    ----------
    n : int
        Samples in the data set; over shards, those of this process.
    count : int
        Samples the schedule keeps, of all processes; a strategy with a known count
        returns as many.
    keep_ratio : float
        Nominal keep ratio r_t.
    epoch, seed : int
        Key of the hash and of :meth:`generator`.
    ranking : callable
        Returns float32, shape (n,): the scores, ``inf`` where never seen, ``-inf``
        where the sample comes with weight 0; read-only, perhaps the state's own column.
    columns : mapping of str to ndarray
        The reduction's state columns, shape (n,); read-only by contract.
    labels : ndarray of int, shape (n,), or None
        Class of each sample.
    multiple_of : int, default 1
        `count` is rounded up to a multiple of this; a strategy that finds its own
        count does the same.
    selector : Selector, optional
        Chooses among the samples of all processes; among the `n` by default. Over
        shards every process makes the same calls in the same order.
    planned_counts : ndarray of uint16, shape (n,), optional
        Epochs that have planned each sample so far, 65,535 at most; read-only. Counted
        for a strategy with ``needs_planned_counts = True``, else 0.

    Notes
    -----
    A strategy that compares samples by :meth:`top`, :meth:`draw` and :meth:`together`
    alone chooses the same samples whether the data is whole or in shards.
    """

    n: int
    count: int
    keep_ratio: float
    epoch: int
    seed: int
    ranking: Callable[[], Scores]
    columns: Mapping[str, NDArray[Any]] = field(default_factory=dict)
    labels: Labels | None = None
    multiple_of: int = 1
    selector: Selector = None  # type: ignore[assignment] # set below
    planned_counts: NDArray[np.uint16] = None  # type: ignore[assignment] # set below

    def __post_init__(self) -> None:
        """Choose among this process's samples where no selector is given."""
        if self.selector is None:
            object.__setattr__(self, "selector", Selector(self.n))
        if self.planned_counts is None:
            none = np.broadcast_to(np.uint16(0), self.n)
            object.__setattr__(self, "planned_counts", none)

    @property
    def total(self) -> int:
        """Samples of all processes that choose together."""
        return self.selector.total

    @property
    def all_ids(self) -> Ids:
        """Ids 0 to n - 1."""
        return np.arange(self.n, dtype=id_dtype(self.n))

    def global_ids(self, ids: Ids) -> Ids:
        """Return the ids (m,) that samples have among those of all processes.

        Parameters
        ----------
        ids : ndarray of int, shape (m,)
            Ids on this process; the same without shards.
        """
        return self.selector.global_ids(ids)

    def together(self, *numbers: float) -> list[float]:
        """Return the sums of some numbers over the processes, the same on each.

        Parameters
        ----------
        *numbers : float
            This process's.
        """
        sums: list[float] = self.selector.sum(numbers).tolist()
        return sums

    def top(
        self, keys: Scores, count: int | None = None, *, epoch: int | None = None
    ) -> Ids:
        """Return this process's ids (k,) of the highest keys of all, ascending.

        Parameters
        ----------
        keys : ndarray of float32, shape (n,)
            What is ranked; ``inf`` above all.
        count : int, optional
            Samples of all processes; the request's by default.
        epoch : int, optional
            Key of the hash among equal keys; the request's by default.
        """
        count = self.count if count is None else count
        epoch = self.epoch if epoch is None else epoch
        return self.selector.top(keys, count, seed=self.seed, epoch=epoch)

    def draw(self, ids: Ids, count: int, *, seed: int | None = None) -> Ids:
        """Return this process's ids (k,) of the highest hashes of all, ascending.

        Parameters
        ----------
        ids : ndarray of int, shape (m,)
            Ids to select from at random, ascending.
        count : int
            Samples of all processes.
        seed : int, optional
            Key of the hash; the request's by default, which orders ties too: of
            samples that a tie left over, take a seed from :meth:`generator`.
        """
        seed = self.seed if seed is None else seed
        return self.selector.draw(ids, count, seed=seed, epoch=self.epoch)

    def generator(self) -> np.random.Generator:
        """Return a stream of random numbers, the same for the same seed and epoch."""
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

    A class that inherits from it keeps by score as many as the schedule says, where it
    does not say otherwise. With a class attribute ``over_shards = True`` it says that
    `select` compares samples by `Request.top`, `Request.draw` and sums alone, and so
    chooses over all processes; with ``needs_planned_counts = True`` it gets
    `Request.planned_counts`.
    """

    @property
    def uses_scores(self) -> bool:
        """Whether an epoch without values is an error."""
        return True

    @property
    def known_count(self) -> bool:
        """Whether the schedule alone decides how many samples are kept."""
        return True

    @property
    def scales_loss(self) -> bool:
        """Whether the loss is divided by the keep ratio (Eq. 23)."""
        return True

    @property
    def reduction(self) -> Reduction | None:
        """The reduction the strategy needs, or None for the signal's own."""
        return None

    def check(self, n: int, smallest: int, labels: Labels | None) -> None:
        """Refuse a data set that the strategy can't serve; by default, accept any.

        `smallest` is the least number of samples that an epoch keeps.
        """
        del n, smallest, labels

    def select(self, request: Request) -> Selection:
        """Return the kept samples of one epoch."""


class StrategyDefaults(Strategy):
    """A strategy that chooses over shards."""

    over_shards: bool = True
    weighs_losses: bool = False  # whether the kept samples have weights of their own

    @property
    def needs_planned_counts(self) -> bool:
        """Whether the state counts how often each sample was planned."""
        return False


def pick(ids: Ids, count: int, request: Request) -> Ids:
    """Select `count` of all processes' `ids` at random, independent of ties."""
    # Samples that a tie left over have low tie hashes: by another key they are selected
    # as often as all others.
    seed = first_word(request.seed, purpose=SELECT, epoch=request.epoch)
    return request.draw(ids, count, seed=seed)


def gumbel_noise(ids: Ids, request: Request) -> Floats:
    """Return -log(-log u), u uniform in (0, 1) by a hash of seed, epoch and id."""
    # The highest of log w_k + noise are a selection one by one in proportion to w_k.
    seed = first_word(request.seed, purpose=SELECT, epoch=request.epoch)
    hashes = tie_hash(ids, seed=seed, epoch=request.epoch)
    # The middles of 2^52 intervals: never 0 or 1, and exact in float64.
    uniform = ((hashes >> np.uint64(12)).astype(np.float64) + 0.5) * 2.0**-52
    return -np.log(-np.log(uniform))


class Floored(StrategyDefaults):
    """A strategy with a `class_floor`, which each class declares among its fields."""

    class_floor: float

    def __post_init__(self) -> None:
        """Refuse a floor that is no share."""
        set_real(self, "class_floor", low=0, high=1)

    def check(self, n: int, smallest: int, labels: Labels | None) -> None:
        """Refuse missing labels, and floors above the smallest epoch."""
        del n
        if self.class_floor == 0:
            return
        if labels is None:
            msg = f"`labels` must be given for `class_floor`={self.class_floor:g}"
            raise ValueError(msg)
        needed = int(_minimums(labels, self.class_floor)[1].sum())
        if needed > smallest:
            msg = (
                f"`class_floor` must leave at most {smallest} samples, the smallest "
                f"epoch of the schedule, got {self.class_floor:g} which keeps {needed}"
            )
            raise ValueError(msg)


def keep_highest(
    keys: Scores, request: Request, *, floor: float = 0.0, epoch: int | None = None
) -> Ids:
    """Return the ids of the highest keys: each class's to its floor, then the best."""
    epoch = request.epoch if epoch is None else epoch
    labels, n = request.labels, request.n
    if request.count == request.total or floor == 0 or labels is None:
        return request.top(keys, epoch=epoch)
    hashes = tie_hash(np.arange(n), seed=request.seed, epoch=epoch)
    best_first = np.lexsort((hashes, keys))[::-1]
    by_class = best_first[np.argsort(labels[best_first], kind="stable")]
    sizes, minimums = _minimums(labels, floor)
    index_in_class = np.arange(n) - np.repeat(np.cumsum(sizes) - sizes, sizes)
    kept = np.zeros(n, dtype=bool)
    held = index_in_class < np.repeat(minimums, sizes)
    # A sample of the key -inf has nothing to be trained on.
    kept[by_class[held & (keys[by_class] > -np.inf)]] = True
    rest = best_first[~kept[best_first]]
    kept[rest[: request.count - int(kept.sum())]] = True
    return np.flatnonzero(kept).astype(id_dtype(n))


def _minimums(labels: Labels, floor: float) -> tuple[Ids, Ids]:
    """Return the size of each class and how many of it every epoch keeps, 1 or more."""
    _, sizes = np.unique(labels, return_counts=True)
    return sizes, np.maximum(1, np.floor(floor * sizes)).astype(np.int64)
