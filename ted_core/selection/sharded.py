"""A rank's shard of the data: its size, its place, and how the ranks add up."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any, Literal, TypeAlias

import numpy as np
from numpy.typing import ArrayLike, NDArray

from ted_core._validation import check_choice, check_int, check_kind
from ted_core.selection.randomness import SHARD, stream, tie_hash
from ted_core.selection.top_k import ordered_bits
from ted_core.typing import Ids, Scores, State, id_dtype

__all__ = [
    "MOST_VISITS",
    "AllSum",
    "Shard",
    "check_shard",
    "median_of_all",
    "rank_factor",
    "sum_over",
    "top_of_all",
    "visits",
]

AllSum: TypeAlias = Callable[[NDArray[Any]], NDArray[Any]]


"""Adds arrays of one shape and dtype over the ranks; the same result on each."""


_BITS = 8


_DIGITS = 1 << _BITS


def top_of_all(  # noqa: PLR0917 - it has two callers
    keys: Scores | None, ids: Ids, count: int, seed: int, epoch: int, all_sum: AllSum
) -> NDArray[np.int64]:
    r"""Return which samples of this rank are among the `count` highest of all ranks.

    Parameters
    ----------
    keys : ndarray of float32, shape (m,), or None
        Key of each sample of this rank; ``inf`` ranks above all. None: all are equal.
    ids : ndarray of int, shape (m,)
        Their ids among the samples of all ranks, each on one rank.
    count : int
        Samples to choose from all ranks, at most as many as there are; the same on
        every rank.
    seed, epoch : int
        Key of the hash that orders equal keys.
    all_sum : callable
        Adds over the ranks; every rank takes part.

    Returns
    -------
    ndarray of int64
        Their places in `keys`, ascending: over all ranks exactly those that
        :func:`ted_core.top_ids` chooses from all keys at once.

    Raises
    ------
    ValueError
        On every rank: a key is NaN.

    Notes
    -----
    The digits of the key, then of the hash, 8 bits at a time from the highest, are
    counted over all ranks, and only the samples at the threshold go on. At most 12
    sums, 4 for the keys and 8 for the hash, of 2,056 bytes each. O(m).

    Examples
    --------
    >>> import numpy as np
    >>> from ted_core.selection.sharded import top_of_all
    >>> keys = np.float32([0.1, 0.9, 0.5, 0.7])
    >>> top_of_all(keys, np.arange(4), 2, 0, 0, all_sum=lambda array: array).tolist()
    [1, 3]
    """
    places = np.arange(ids.size)
    if count == 0:
        return places[:0]
    wrong = 0 if keys is None else int(np.isnan(keys).sum())
    chosen: list[NDArray[np.int64]] = []
    for word in _words(keys, ids, seed, epoch):
        digits_of = word(places)
        for shift in range(8 * digits_of.itemsize - _BITS, -1, -_BITS):
            digits = (digits_of >> digits_of.dtype.type(shift)).astype(np.uint8)
            digit, count, level = _threshold(digits, count, wrong, all_sum)
            chosen.append(places[np.flatnonzero(digits > digit)])
            level_at = np.flatnonzero(digits == digit)
            places, digits_of = places[level_at], digits_of[level_at]
            if count == level:
                return np.sort(np.concatenate([*chosen, places]), kind="stable")
    msg = f"`ids` must be distinct over all ranks, got {level} samples for {count}"
    raise ValueError(msg)


def _words(
    keys: Scores | None, ids: Ids, seed: int, epoch: int
) -> Iterator[Callable[[NDArray[np.int64]], NDArray[np.unsignedinteger[Any]]]]:
    """Yield what is compared, in turn: all keys, then the hashes at some places."""
    if keys is not None:
        yield lambda _: ordered_bits(keys)
    yield lambda places: tie_hash(ids[places], seed=seed, epoch=epoch)


def _threshold(
    digits: NDArray[np.uint8], count: int, wrong: int, all_sum: AllSum
) -> tuple[int, int, int]:
    """Return the digit at which `count` are reached, how many it gives and has."""
    counted = np.append(np.bincount(digits, minlength=_DIGITS), wrong)
    total = all_sum(counted.astype(np.int64))
    if total[_DIGITS]:
        msg = f"`keys` must not hold NaN, got {total[_DIGITS]}; rank such samples first"
        raise ValueError(msg)
    above = np.cumsum(total[_DIGITS - 1 :: -1])
    if above[-1] < count:
        msg = f"`count` must be at most the {above[-1]} samples of all, got {count}"
        raise ValueError(msg)
    index = int(np.searchsorted(above, count))
    digit = _DIGITS - 1 - index
    level = int(total[digit])
    return digit, count - int(above[index]) + level, level


def median_of_all(values: Scores, *, all_sum: AllSum) -> np.float32:
    """Return the median of the values of all ranks.

    Parameters
    ----------
    values : ndarray of float32, shape (m,)
        Values of this rank, not NaN; there may be none.
    all_sum : callable
        Adds over the ranks; every rank takes part.

    Returns
    -------
    float32
        What ``numpy.median`` gives for all values at once, in float64, rounded; 0 if
        there are none.

    Notes
    -----
    At most 8 sums of 2,056 bytes, and one of 8. O(m).

    Examples
    --------
    >>> import numpy as np
    >>> from ted_core.selection.sharded import median_of_all
    >>> float(median_of_all(np.float32([1, 5, 2]), all_sum=lambda array: array))
    2.0
    """
    n = int(all_sum(np.array([values.size]))[0])
    if n == 0:
        return np.float32(0)
    middle = [_highest(values, rank, all_sum) for rank in {n // 2 + 1, n - n // 2}]
    return np.float32(np.mean(middle))


def _highest(values: Scores, rank: int, all_sum: AllSum) -> float:
    """Return the value of a rank, 1 the highest."""
    bits, word = ordered_bits(values), 0
    for shift in range(32 - _BITS, -1, -_BITS):
        digits = (bits >> np.uint32(shift)).astype(np.uint8)
        digit, rank, _ = _threshold(digits, rank, 0, all_sum)
        bits, word = bits[digits == digit], word << _BITS | digit
    word = word ^ (1 << 31) if word >> 31 else ~word & (1 << 32) - 1
    return float(np.uint32(word).view(np.float32))


MOST_VISITS = 255


"""How often an epoch may visit a sample: times seen are counted in 8 bits."""


def rank_factor(kept: int, kept_by_rank: tuple[int, ...]) -> float:
    r"""Return a rank's factor of the loss, which makes up for what it repeats.

    The mean over the R ranks of their mean losses, each times its factor k_r R / k, is
    the mean over all k kept samples, however they lie on the ranks.

    Parameters
    ----------
    kept : int
        Samples k_r that this rank keeps.
    kept_by_rank : tuple of int
        Samples that each rank keeps; none if there are no shards.

    Returns
    -------
    float
        1 without shards, or if all keep as many; more where a sample would have to be
        visited over 255 times and others of weight 0 fill the epoch.

    Examples
    --------
    >>> from ted_core.selection.sharded import rank_factor
    >>> rank_factor(6, (6, 2)), rank_factor(2, (6, 2))
    (1.5, 0.5)
    """
    if not kept or not kept_by_rank:
        return 1.0
    length = max(kept_by_rank)
    filled = length / min(length, MOST_VISITS * kept)
    return kept * len(kept_by_rank) / sum(kept_by_rank) * filled


def visits(order: Ids, length: int, n: int) -> Ids:
    """Return the ids that a rank visits in an epoch of `length` samples.

    Parameters
    ----------
    order : ndarray of int, shape (k,)
        Kept ids of this rank, in order; there may be none.
    length : int
        Samples of the rank that keeps most, at least k.
    n : int
        Samples of this rank.

    Returns
    -------
    ndarray of int, shape (length,)
        `order` again and again, each id 255 times at most; then pruned ids, which
        must weigh 0.

    Examples
    --------
    >>> import numpy as np
    >>> from ted_core.selection.sharded import visits
    >>> visits(np.array([4, 2]), 5, 6).tolist()
    [4, 2, 4, 2, 4]
    """
    if length == order.size:
        return order
    repeated: Ids = np.resize(order, min(length, MOST_VISITS * order.size))
    if repeated.size == length:
        return repeated
    pruned = np.ones(n, dtype=bool)
    pruned[order] = False
    rest = np.flatnonzero(pruned).astype(order.dtype)
    return np.concatenate([repeated, np.resize(rest, length - repeated.size)])


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
            See :func:`ted_core.selection.sharded.median_of_all`.
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
