"""Choose samples wherever the data lies: on one process, or in shards on several."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal, TypeAlias

import numpy as np
from numpy.typing import ArrayLike, NDArray

from ted_core._validation import check_choice, check_int, check_kind
from ted_core.selection import top_k
from ted_core.selection._randomness import SHARD, first_word, tie_hash
from ted_core.typing import Floats, Ids, Scores, State, id_dtype

__all__ = ["AllSum", "Shard"]

Ranks: TypeAlias = Iterator[tuple[Ids, Floats]]
"""Ids of samples and the rank of each, in (0, 1): some at a time, in any order."""


class Selector:
    """Choose among the samples of this process, or with shards among those of all."""

    # Over shards every process makes the same calls in the same order, and gets back
    # what concerns its own samples.

    def __init__(self, total: int) -> None:
        self.total = total  # samples to choose from

    def global_ids(self, ids: Ids) -> Ids:
        """Return the ids that samples of this process have among all."""
        return ids

    def top(self, keys: Scores, count: int, *, seed: int, epoch: int) -> Ids:
        """Return the ids here of the `count` highest keys of all, ascending."""
        return top_k.top_ids(keys, count, seed=seed, epoch=epoch)

    def draw(self, ids: Ids, count: int, *, seed: int, epoch: int) -> Ids:
        """Return those of `ids` with the `count` highest hashes of all, ascending."""
        return top_k.highest_hashes(ids, count, seed=seed, epoch=epoch)

    def median(self, values: Scores) -> np.float32:
        """Return the median of all values, which are not NaN; 0 if there are none."""
        return top_k.median(values)

    def mid_ranks(self, scores: Scores) -> Ranks:
        """Yield ids and their mid-ranks among all scores, of which -inf has none."""
        return top_k.mid_ranks(scores)

    def sum(self, numbers: ArrayLike) -> NDArray[Any]:
        """Return the sum of each number over the processes."""
        return np.asarray(numbers)

    def gather(self, numbers: ArrayLike) -> NDArray[Any]:
        """Return the numbers of every process, shape (processes, k)."""
        return np.asarray(numbers)[None]


AllSum: TypeAlias = Callable[[NDArray[Any]], NDArray[Any]]
"""Adds arrays of one shape and dtype over the processes; the same result on each."""

MAX_REPEATS = 255  # of a sample in one epoch: they are counted in 8 bits

_BITS = 8  # of a word that one sum looks at
_DIGITS = 1 << _BITS
_RANK_BITS = 4
_MAX_SHARE = 1 << 10  # ranks are refined until a range holds one 1024th at most


@dataclass(frozen=True, eq=False)
class Shard:
    """One process's part of data that no process holds whole.

    Sample i of this process is sample ``first + i`` of all, and ties and random
    selections go by that number.

    Parameters
    ----------
    sizes : tuple of int
        Samples of every process, in the order of their ranks.
    rank : int
        This process, in [0, len(sizes)).
    all_sum : callable
        Takes an array of int64 or float64 and returns its sum over the processes, with
        the same bits on each; every process takes part.
    balance : {"exact", "per_rank"}, default "exact"
        Whether an epoch's samples are chosen from those of all processes together, or
        by each process from its own.

    Raises
    ------
    ValueError, TypeError
        An argument is out of its range; a shard is more than 255 times as large as
        another.

    Notes
    -----
    A process that observes nothing in an epoch, or nothing finite, is no error as long
    as another one does.

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
            msg = "`sizes` must have a size for each process, got ()"
            raise ValueError(msg)
        if not callable(self.all_sum):
            msg = f"`all_sum` must be callable, got {self.all_sum!r}"
            raise TypeError(msg)
        remedy = "each process needs a sample of its own"
        for size in self.sizes:
            check_int("sizes", size, minimum=1, remedy=remedy)
        check_int("rank", self.rank, minimum=0, maximum=len(self.sizes) - 1)
        check_choice("balance", self.balance, ("exact", "per_rank"))
        if max(self.sizes) > MAX_REPEATS * min(self.sizes):
            msg = (
                f"`sizes` must be within a factor of {MAX_REPEATS}, got "
                f"{min(self.sizes)} on rank {self.sizes.index(min(self.sizes))} and "
                f"{max(self.sizes)} on rank {self.sizes.index(max(self.sizes))}; deal "
                "out the data evenly"
            )
            raise ValueError(msg)

    @property
    def size(self) -> int:
        """Samples of this process."""
        return self.sizes[self.rank]

    @property
    def total(self) -> int:
        """Samples of all processes."""
        return sum(self.sizes)

    @property
    def first(self) -> int:
        """Samples of the processes before this one."""
        return sum(self.sizes[: self.rank])

    def describe(self) -> State:
        """Return the facts that a state compares, by names such as ``shard.rank``."""
        return {
            "shard.rank": self.rank,
            "shard.world_size": len(self.sizes),
            "shard.first": self.first,
            "shard.total": self.total,
            "shard.balance": self.balance,
        }


class ShardedSelector(Selector):
    """Choose among the samples of all processes."""

    def __init__(self, shard: Shard) -> None:
        super().__init__(shard.total)
        self._shard, self._all_sum = shard, shard.all_sum

    def global_ids(self, ids: Ids) -> Ids:
        """Add the number of samples of the processes before this one."""
        dtype = id_dtype(self.total)
        added: Ids = np.add(ids.astype(dtype), dtype(self._shard.first), dtype=dtype)
        return added

    def top(self, keys: Scores, count: int, *, seed: int, epoch: int) -> Ids:
        """Return what ``top_ids`` of all keys chooses, as far as it is here."""
        size = self._shard.size
        own: Ids = np.arange(size, dtype=id_dtype(size))
        if count == self.total:
            return own
        named = self.global_ids(own)
        return own[top_over_processes(keys, named, count, seed, epoch, self._all_sum)]

    def draw(self, ids: Ids, count: int, *, seed: int, epoch: int) -> Ids:
        """Return what ``highest_hashes`` of all ids chooses, as far as it is here."""
        named = self.global_ids(ids)
        return ids[top_over_processes(None, named, count, seed, epoch, self._all_sum)]

    def median(self, values: Scores) -> np.float32:
        """Return what ``numpy.median`` gives for all values, in at most 9 sums."""
        return median_over_processes(values, all_sum=self._all_sum)

    def mid_ranks(self, scores: Scores) -> Ranks:
        """Yield ids and their mid-ranks among all, to within 2^-11."""
        ids: Ids = np.flatnonzero(scores > -np.inf)
        yield ids, mid_ranks_over_processes(scores[ids], all_sum=self._all_sum)

    def sum(self, numbers: ArrayLike) -> NDArray[Any]:
        """Return the sum of each number."""
        return self._all_sum(np.asarray(numbers))

    def gather(self, numbers: ArrayLike) -> NDArray[Any]:
        """Return the numbers of every process in one sum."""
        mine = np.asarray(numbers)
        rows = np.zeros((len(self._shard.sizes), mine.size), mine.dtype)
        rows[self._shard.rank] = mine
        return self._all_sum(rows)


def top_over_processes(  # noqa: PLR0917 - its callers are above
    keys: Scores | None, ids: Ids, count: int, seed: int, epoch: int, all_sum: AllSum
) -> NDArray[np.bool_]:
    """Return which samples here are among the `count` highest; None is equal keys."""
    kept = np.zeros(ids.size, dtype=bool)
    if count == 0:
        return kept
    tied = np.arange(ids.size)
    if keys is not None:
        nan = int(np.isnan(keys).sum())
        bits = top_k.ordered_bits(keys)
        threshold, count, equal = _nth_highest(bits, count, all_sum, nan=nan)
        kept, tied = bits > threshold, np.flatnonzero(bits == threshold)
        if count == equal:
            kept[tied] = True
            return kept
    hashes = tie_hash(ids[tied], seed=seed, epoch=epoch)
    threshold, count, equal = _nth_highest(hashes, count, all_sum)
    if count != equal:
        got = f"got {equal} samples for {count}"
        msg = f"`ids` must be distinct over all processes, {got}"
        raise ValueError(msg)
    kept[tied[hashes >= threshold]] = True
    return kept


def _nth_highest(
    words: NDArray[np.unsignedinteger[Any]], n: int, all_sum: AllSum, *, nan: int = 0
) -> tuple[np.unsignedinteger[Any], int, int]:
    """Return the n-th highest word, its position among its equals, their number."""
    # The processes count how many words have each value of the highest 8 bits, find the
    # value at which n are reached, and go on with the next 8 bits of the words there.
    dtype, threshold, equal = words.dtype.type, 0, 0
    for shift in range(8 * words.itemsize - _BITS, -1, -_BITS):
        digits = (words >> dtype(shift)).astype(np.uint8)
        counted = np.append(np.bincount(digits, minlength=_DIGITS), nan)
        total = all_sum(counted.astype(np.int64))
        if total[_DIGITS]:
            count = total[_DIGITS]
            msg = f"`keys` must not hold NaN, got {count}; rank such samples first"
            raise ValueError(msg)
        above = np.cumsum(total[_DIGITS - 1 :: -1])  # and equal
        if above[-1] < n:
            msg = f"`count` must be at most the {above[-1]} samples of all, got {n}"
            raise ValueError(msg)
        digit = _DIGITS - 1 - int(np.searchsorted(above, n))
        equal = int(total[digit])
        n -= int(above[_DIGITS - 1 - digit]) - equal
        words = words[digits == digit]
        threshold = threshold << _BITS | digit
    return dtype(threshold), n, equal


def median_over_processes(values: Scores, *, all_sum: AllSum) -> np.float32:
    """Return the median of the values of all processes, 0 if there are none."""
    n = int(all_sum(np.array([values.size]))[0])
    if n == 0:
        return np.float32(0)
    bits = top_k.ordered_bits(values)
    middle = [_nth_highest(bits, i, all_sum)[0] for i in {n // 2 + 1, n - n // 2}]
    sign = np.uint32(1 << 31)
    numbers = [bit ^ sign if bit & sign else ~bit for bit in middle]
    return np.float32(np.array(numbers).view(np.float32).mean(dtype=np.float64))


def mid_ranks_over_processes(scores: Scores, *, all_sum: AllSum) -> Floats:
    """Return each score's mid-rank among all, to within 2^-11; exact below 2,048."""
    # The scores are counted by their bits, 4 at a time from the highest. A range goes
    # on to be divided while it holds more than 2^-10 of all: the middle of a range is
    # then at most half of that from the rank of each score in it.
    bits = top_k.ordered_bits(scores)
    ranks = np.empty(bits.size)
    left = np.arange(bits.size)  # scores whose range is still divided
    group = np.zeros(bits.size, np.intp)  # the range of each
    below, n = np.zeros(1), 0
    for shift in range(32 - _RANK_BITS, -1, -_RANK_BITS):
        digits = (bits >> np.uint32(shift)).astype(np.intp) & (1 << _RANK_BITS) - 1
        part = group << _RANK_BITS | digits
        counted = np.bincount(part, minlength=below.size << _RANK_BITS)
        table = all_sum(counted.astype(np.int64)).reshape(below.size, -1)
        n = n or max(int(table.sum()), 1)
        starts = (below[:, None] + np.cumsum(table, axis=1) - table).ravel()
        sizes = table.ravel()
        ranks[left] = (starts + sizes / 2)[part] / n
        large = np.flatnonzero(sizes * _MAX_SHARE > n)
        if not large.size:
            break
        number = np.full(sizes.size, -1, np.intp)
        number[large] = np.arange(large.size)
        group = number[part]
        again = np.flatnonzero(group >= 0)
        left, bits, group = left[again], bits[again], group[again]
        below = starts[large]
    return ranks


class Layout:
    """How a run's data lies on the processes: whole on each of them, or in shards."""

    def __init__(self, n: int, shard: Shard | None = None) -> None:
        if shard is not None and not isinstance(shard, Shard):
            msg = f"`shard` must be a Shard, got {shard!r}"
            raise TypeError(msg)
        if shard is not None and shard.size != n:
            msg = (
                f"`shard` must have {n} samples on rank {shard.rank}, got {shard.size}"
            )
            raise ValueError(msg)
        self._shard = shard
        self.shares_order = shard is None  # `world_size` processes share one order
        own = Selector(n)
        self._over_all = own if shard is None else ShardedSelector(shard)
        together = shard is not None and shard.balance == "exact"
        self.selector = self._over_all if together else own
        self.known_counts = not together  # a process knows ahead how many it keeps
        self.sizes = (n,) if shard is None else shard.sizes
        self.rank = 0 if shard is None else shard.rank
        self.max_size = max(self.sizes)
        # The samples of which the longest process's counts are shares.
        self.counted = self._over_all.total if together else self.max_size

    def check(self, strategy: Any) -> None:
        """Refuse a class floor, and what does not say that it chooses over shards."""
        if self.known_counts:
            return
        rule = ""
        if getattr(strategy, "class_floor", 0):
            rule = "have no class floor over shards"
        elif not getattr(strategy, "over_shards", False):
            rule = "say with `over_shards` that it chooses over shards"
        if rule:
            msg = (
                f"`strategy` must {rule}, got {strategy!r}; use balance='per_rank', or "
                "scores that every process holds whole"
            )
            raise ValueError(msg)

    def selection_seed(self, seed: int) -> int:
        """Return the run's where all choose together, else this process's own."""
        return self.order_seed(seed) if self.known_counts else seed

    def order_seed(self, seed: int) -> int:
        """Return the seed of the shuffle: with shards this process's own."""
        if self.shares_order:
            return seed
        return first_word(seed, purpose=SHARD, epoch=self.rank)

    def sums(self, numbers: Sequence[int]) -> list[int]:
        """Return the sum of each number over the processes that have shards."""
        sums: list[int] = self._over_all.sum(numbers).tolist()
        return sums

    def kept_by_rank(self, kept: int) -> tuple[int, ...]:
        """Return how many samples each process keeps; empty without shards."""
        if self.shares_order:
            return ()
        return tuple(self._over_all.gather([kept])[:, 0].tolist())

    def describe(self) -> State:
        """Return the facts that a state compares."""
        return {} if self._shard is None else self._shard.describe()


def loss_factor(kept: int, kept_by_rank: tuple[int, ...]) -> float:
    """Return a process's factor of the loss, which makes up for what it repeats."""
    if not kept or not kept_by_rank:
        return 1.0
    # The mean over R processes of their mean losses, each times k_r R / k, is the mean
    # over all k kept samples, of which this process keeps k_r.
    length = max(kept_by_rank)
    # Above 255 repeats of each, samples of weight 0 fill the epoch.
    filled = length / min(length, MAX_REPEATS * kept)
    return kept * len(kept_by_rank) / sum(kept_by_rank) * filled


def repeat_order(order: Ids, length: int, n: int) -> Ids:
    """Repeat kept ids up to 255 times, to `length`; pruned ids of weight 0 follow."""
    if length == order.size:
        return order
    repeated: Ids = np.resize(order, min(length, MAX_REPEATS * order.size))
    if repeated.size == length:
        return repeated
    pruned = np.ones(n, dtype=bool)
    pruned[order] = False
    rest = np.flatnonzero(pruned).astype(order.dtype)
    return np.concatenate([repeated, np.resize(rest, length - repeated.size)])
