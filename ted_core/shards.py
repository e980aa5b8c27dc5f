"""A rank's shard of the data: its size, its place, and how the ranks add up."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray

from ted_core._checks import check_choice, check_int, check_kind
from ted_core.counts import id_dtype
from ted_core.radix import AllSum, median_of_all
from ted_core.randomness import SHARD, stream
from ted_core.typing import Ids, Scores, State
from ted_core.visits import MOST_VISITS

__all__ = ["Shard", "check_shard", "sum_over"]

_BALANCES = ("exact", "per_rank")


@dataclass(frozen=True, eq=False)
class Shard:
    """One rank's part of data that no rank holds whole.

    Sample i of this rank is sample ``first + i`` of all: ties and draws go by that.

    Parameters
    ----------
    sizes : tuple of int
        Samples of every rank, in the order of the ranks.
    rank : int
        This rank, in [0, len(sizes)).
    all_sum : callable
        Takes an array of int64 or float64 and returns its sum over the ranks, with the
        same bits on each; every rank takes part.
    balance : {"exact", "per_rank"}, default "exact"
        Whether an epoch's samples are chosen from those of all ranks together, or by
        each rank from its own.

    Raises
    ------
    ValueError, TypeError
        An argument is out of its range; a shard is more than 255 times as large as
        another.

    Notes
    -----
    A rank that observes nothing in an epoch, or nothing finite, is no error as long as
    another one does; that all values of all ranks are not finite is for the caller to
    find.

    Examples
    --------
    >>> from ted_core import Pruner, Shard
    >>> shard = Shard((3, 5), rank=1, all_sum=lambda array: array)
    >>> shard.first, shard.size, shard.total
    (3, 5, 8)
    """

    sizes: tuple[int, ...]
    rank: int
    all_sum: AllSum = field(repr=False)
    balance: Literal["exact", "per_rank"] = "exact"

    def __post_init__(self) -> None:
        """Refuse shards that can't be trained on together."""
        check_kind("sizes", self.sizes, tuple)
        if not self.sizes:
            msg = "`sizes` must have a size for each rank, got ()"
            raise ValueError(msg)
        if not callable(self.all_sum):
            msg = f"`all_sum` must be callable, got {self.all_sum!r}"
            raise TypeError(msg)
        remedy = "each rank needs a sample of its own"
        for size in self.sizes:
            check_int("sizes", size, minimum=1, remedy=remedy)
        check_int("rank", self.rank, minimum=0, maximum=len(self.sizes) - 1)
        check_choice("balance", self.balance, _BALANCES)
        if max(self.sizes) > MOST_VISITS * min(self.sizes):
            msg = (
                f"`sizes` must be within a factor of {MOST_VISITS}, got "
                f"{min(self.sizes)} on rank {self.sizes.index(min(self.sizes))} and "
                f"{max(self.sizes)} on rank {self.sizes.index(max(self.sizes))}; deal "
                "out the data evenly"
            )
            raise ValueError(msg)

    @property
    def exact(self) -> bool:
        """Whether all ranks choose together."""
        return self.balance == "exact"

    @property
    def size(self) -> int:
        """Samples of this rank."""
        return self.sizes[self.rank]

    @property
    def total(self) -> int:
        """Samples of all ranks."""
        return sum(self.sizes)

    @property
    def first(self) -> int:
        """Samples of the ranks before this one."""
        return sum(self.sizes[: self.rank])

    def ids(self, local: Ids) -> Ids:
        """Return the ids among the samples of all ranks.

        Parameters
        ----------
        local : ndarray of int, shape (k,)
            Ids on this rank.

        Returns
        -------
        ndarray of int32 or int64, shape (k,)
            The same samples' ids among all.
        """
        dtype = id_dtype(self.total)
        named: Ids = np.add(local.astype(dtype), dtype(self.first), dtype=dtype)
        return named

    def gather(self, values: ArrayLike) -> NDArray[Any]:
        """Return every rank's numbers: one sum over the ranks.

        Parameters
        ----------
        values : array_like of int or float, shape (k,)
            This rank's.

        Returns
        -------
        ndarray of int64 or float64, shape (ranks, k)
            Those of all, in the order of the ranks.
        """
        mine = np.asarray(values)
        rows = np.zeros((len(self.sizes), mine.size), mine.dtype)
        rows[self.rank] = mine
        return self.all_sum(rows)

    def median(self, values: Scores, wanted: int) -> np.float32:
        """Return the median of all ranks' values, if any rank wants it, else 0.

        Parameters
        ----------
        values : ndarray of float32, shape (k,)
            Values of this rank, not NaN.
        wanted : int
            How many samples of this rank take it.

        Returns
        -------
        float32
            See :func:`ted_core.radix.median_of_all`.
        """
        if not sum_over(self, wanted):
            return np.float32(0)
        return median_of_all(values, all_sum=self.all_sum)

    def seed_of(self, seed: int) -> int:
        """Return a seed of this rank's own, for what the ranks do each by itself.

        Parameters
        ----------
        seed : int
            Seed of the run.

        Returns
        -------
        int
            In [0, 2^64).
        """
        bits = stream(seed, purpose=SHARD, epoch=self.rank).bit_generator
        return int(bits.random_raw())

    def describe(self) -> State:
        """Return the facts that a state compares."""
        return {
            "shard.rank": self.rank,
            "shard.world_size": len(self.sizes),
            "shard.first": self.first,
            "shard.total": self.total,
            "shard.balance": self.balance,
        }


def sum_over(shard: Shard | None, number: int) -> int:
    """Return the sum of a number over the ranks, itself without shards.

    Parameters
    ----------
    shard : Shard or None
        This rank's.
    number : int
        This rank's number.

    Returns
    -------
    int
        The same on every rank.
    """
    return number if shard is None else int(shard.all_sum(np.array([number]))[0])


def check_shard(shard: object, n: int, strategy: Any) -> None:
    """Refuse a shard of other than `n` samples, and what can't choose over shards.

    Parameters
    ----------
    shard : Shard
        This rank's.
    n : int
        Samples of its data set.
    strategy : Strategy
        Of the run.

    Raises
    ------
    TypeError, ValueError
        It is no shard, its size is another, or all ranks are to choose together and
        the strategy has a class floor or knows no way to.
    """
    if not isinstance(shard, Shard):
        msg = f"`shard` must be a Shard, got {shard!r}"
        raise TypeError(msg)
    if shard.size != n:
        msg = f"`shard` must have {n} samples on rank {shard.rank}, got {shard.size}"
        raise ValueError(msg)
    if not shard.exact:
        return
    rule = ""
    if getattr(strategy, "class_floor", 0):
        rule = "have no class floor over shards"
    elif not getattr(strategy, "over_shards", False):
        rule = "say with `over_shards` that it chooses over shards"
    if rule:
        msg = (
            f"`strategy` must {rule}, got {strategy!r}; use balance='per_rank', or "
            "scores that every rank holds whole"
        )
        raise ValueError(msg)
