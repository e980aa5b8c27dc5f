"""A draw in which high scores are likely: TopScore made soft."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import KW_ONLY, dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ted_core._validation import check_real
from ted_core.selection.randomness import tie_hash, uniforms
from ted_core.selection.sharded import AllSum, Shard
from ted_core.selection.top_k import Bits, ordered_bits, pieces, upper_halves
from ted_core.strategies.base import Ranked, Request, Selection
from ted_core.strategies.class_floors import (
    check_class_floor,
    check_floors,
    keep_highest,
)
from ted_core.typing import Ids, Scores, id_dtype

__all__ = [
    "RankBins",
    "SoftTop",
    "mid_ranks",
    "mid_ranks_of_all",
    "soft_keys",
    "soft_noise",
    "soft_top_ids",
]

_BITS = 4


_FINE = 1 << 10


def mid_ranks(scores: Scores) -> NDArray[np.float64]:
    r"""Return each score's place among all, (#below + #equal / 2) / n.

    Parameters
    ----------
    scores : ndarray of float32, shape (n,)
        Not NaN.

    Returns
    -------
    ndarray of float64, shape (n,)
        In (0, 1), the higher the score the higher; equal for equal scores.

    Notes
    -----
    O(n): a radix sort of the bits of the scores, 16 at a time. 40 bytes a sample of
    scratch space.

    Examples
    --------
    >>> import numpy as np
    >>> from ted_core.strategies.soft_top import mid_ranks
    >>> mid_ranks(np.float32([0.5, 7.0, 0.5, -1.0])).tolist()
    [0.5, 0.875, 0.5, 0.125]
    """
    bits = ordered_bits(scores)
    order = np.argsort(bits.astype(np.uint16), kind="stable")
    high = (bits >> np.uint32(16)).astype(np.uint16)
    order = order[np.argsort(high[order], kind="stable")]
    ordered = bits[order]
    first = np.flatnonzero(np.append(True, ordered[1:] != ordered[:-1])[: bits.size])
    sizes = np.diff(np.append(first, bits.size))
    ranks = np.empty(bits.size)
    ranks[order] = np.repeat((first + sizes / 2) / max(bits.size, 1), sizes)
    return ranks


def mid_ranks_of_all(scores: Scores, *, all_sum: AllSum) -> NDArray[np.float64]:
    r"""Return each score's place among those of all ranks, to within 2^-11.

    Parameters
    ----------
    scores : ndarray of float32, shape (m,)
        Scores of this rank, not NaN.
    all_sum : callable
        Adds arrays over the ranks; every rank takes part.

    Returns
    -------
    ndarray of float64, shape (m,)
        As :func:`mid_ranks` of all scores at once, off by less than 2^-11 and for
        fewer than 2,048 scores exact; never in another order, equal for equal scores,
        and the same however the scores are spread over the ranks.

    Notes
    -----
    The scores are counted by their bits, 4 at a time from the highest, and a range goes
    on to be divided while it holds more than 2^-10 of all: the middle of a range is
    then at most half of that from each place in it. 8 sums of at most 128 KiB. O(m).

    Examples
    --------
    >>> import numpy as np
    >>> from ted_core.strategies.soft_top import mid_ranks_of_all
    >>> scores = np.float32([0.5, 7.0, 0.5, -1.0])
    >>> mid_ranks_of_all(scores, all_sum=lambda array: array).tolist()
    [0.5, 0.875, 0.5, 0.125]
    """
    bits = ordered_bits(scores)
    middle = np.empty(bits.size)
    places = np.arange(bits.size)
    group = np.zeros(bits.size, np.intp)  # which of the ranges that are divided
    below, n = np.zeros(1), 0
    for shift in range(32 - _BITS, -1, -_BITS):
        digits = (bits >> np.uint32(shift)).astype(np.intp) & (1 << _BITS) - 1
        part = group << _BITS | digits
        counted = np.bincount(part, minlength=below.size << _BITS).astype(np.int64)
        table = all_sum(counted).reshape(below.size, -1)
        n = n or max(int(table.sum()), 1)
        starts = (below[:, None] + np.cumsum(table, axis=1) - table).ravel()
        sizes = table.ravel()
        middle[places] = (starts + sizes / 2)[part] / n
        large = np.flatnonzero(sizes * _FINE > n)
        number = np.full(sizes.size, -1, np.intp)
        number[large] = np.arange(large.size)
        group = number[part]
        again = np.flatnonzero(group >= 0)
        places, bits, group = places[again], bits[again], group[again]
        below = starts[large]
        if not large.size:
            break
    return middle


_MOST_BINS = 1 << 20


_INFINITE = ordered_bits(np.array([np.inf], np.float32))[0]


class RankBins:
    r"""A histogram of the finite scores, and what it tells of their mid-ranks.

    Parameters
    ----------
    scores : ndarray of float32, shape (n,)
        Not NaN; ``inf`` has a bin of its own, the last, and no rank.

    Notes
    -----
    O(n); at most 2^20 bins, 50 bytes each, of equal width in the ordered bits of the
    scores. A bin that holds one number, however often, is known to.

    Examples
    --------
    >>> import numpy as np
    >>> from ted_core.strategies.soft_top import RankBins
    >>> scores = np.float32([0.5, 7.0, 0.5, -1.0])
    >>> ranks = RankBins(scores)
    >>> least, most = ranks.bounds()
    >>> least[ranks.bins(scores)].tolist()
    [0.5, 0.875, 0.5, 0.125]
    """

    def __init__(self, scores: Scores) -> None:
        self._scores = scores
        self._low, high = self._range()
        wanted = min(_MOST_BINS, 1 << max(8, scores.size.bit_length() - 5))
        width = high - self._low
        self._shift = max(0, width.bit_length() - wanted.bit_length() + 1)
        self._last = (width >> self._shift) + 1
        counts, self._mixed = self._count()
        counts[self._last] = 0
        self._below = np.cumsum(counts) - counts
        self._ranked = max(int(counts.sum()), 1)
        self._counts = counts

    def bounds(self) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Return the least and the greatest mid-rank that each bin may hold.

        Returns
        -------
        least : ndarray of float64, shape (bins,)
            Of each bin.
        most : ndarray of float64, shape (bins,)
            Equal where a bin holds one number.
        """
        middle = self._below + np.maximum(self._counts, 1) / 2
        spread = np.where(self._mixed, (self._counts - 1) / 2, 0.0)
        return (middle - spread) / self._ranked, (middle + spread) / self._ranked

    def bins(self, scores: Scores) -> NDArray[np.intp]:
        """Return the bin of each score.

        Parameters
        ----------
        scores : ndarray of float32, shape (m,)
            Some of the scores.

        Returns
        -------
        ndarray of int, shape (m,)
            Ascending with the score.
        """
        return self._bins(ordered_bits(scores))

    def exact(self, scores: Scores) -> NDArray[np.float64]:
        """Return the mid-rank of each score, (#below + #equal / 2) / n.

        Parameters
        ----------
        scores : ndarray of float32, shape (m,)
            Some of the scores, finite.

        Returns
        -------
        ndarray of float64, shape (m,)
            As :func:`mid_ranks` gives them.

        Notes
        -----
        O(n + k log k), 4 bytes each of the k scores that share a bin with one of
        `scores`.
        """
        bits = ordered_bits(scores)
        bins = self._bins(bits)
        asked = np.zeros(self._last + 1, dtype=bool)
        asked[bins] = True
        asked &= self._mixed
        near = []
        for part in pieces(self._scores.size):
            others = ordered_bits(self._scores[part])
            near.append(others[asked[self._bins(others)]])
        beside = np.concatenate(near)
        del near
        beside.sort()
        left = np.searchsorted(beside, bits, "left")
        equal = np.searchsorted(beside, bits, "right") - left
        counts = np.where(asked, self._counts, 0)
        first = self._below[bins] + left - (np.cumsum(counts) - counts)[bins]
        ranks = (first + equal / 2) / self._ranked
        middle = (self._below[bins] + self._counts[bins] / 2) / self._ranked
        return np.where(self._mixed[bins], ranks, middle)

    def _range(self) -> tuple[int, int]:
        """Return the least and the greatest finite score, as bits."""
        low, high = int(_INFINITE), 0
        for part in pieces(self._scores.size):
            bits = ordered_bits(self._scores[part])
            finite = bits[bits != _INFINITE]
            if finite.size:
                low, high = min(low, int(finite.min())), max(high, int(finite.max()))
        return low, max(low, high)

    def _bins(self, bits: Bits) -> NDArray[np.intp]:
        bins = ((bits - np.uint32(self._low)) >> np.uint32(self._shift)).astype(np.intp)
        bins[bits == _INFINITE] = self._last
        return bins

    def _count(self) -> tuple[NDArray[np.int64], NDArray[np.bool_]]:
        """Return how many scores each bin holds, and whether they differ."""
        counts = np.zeros(self._last + 1, np.int64)
        one = np.zeros(self._last + 1, np.uint32)
        for part in pieces(self._scores.size):
            bits = ordered_bits(self._scores[part])
            bins = self._bins(bits)
            np.add.at(counts, bins, np.int64(1))
            one[bins] = bits
        mixed = np.zeros(self._last + 1, dtype=bool)
        if self._shift:
            for part in pieces(self._scores.size):
                bits = ordered_bits(self._scores[part])
                bins = self._bins(bits)
                mixed[bins[one[bins] != bits]] = True
        return counts, mixed


_HALF = np.uint32(16)


def soft_keys(log_weights: NDArray[np.float64], noise: NDArray[np.float64]) -> Scores:
    """Return log w - log(-log u): the highest are a draw in proportion to w.

    Parameters
    ----------
    log_weights : ndarray of float64, shape (m,)
        Logarithm of each sample's weight.
    noise : ndarray of float64, shape (m,)
        Each sample's log(-log u), of :func:`soft_noise`.

    Returns
    -------
    ndarray of float32, shape (m,)
        Never falls as the weight grows.
    """
    return (log_weights - noise).astype(np.float32)


def soft_noise(ids: Ids, *, seed: int, epoch: int) -> NDArray[np.float64]:
    """Return log(-log u) with u uniform in (0, 1), by a hash.

    Parameters
    ----------
    ids : ndarray of int, shape (m,)
        Sample ids.
    seed, epoch : int
        Key of the draw.

    Returns
    -------
    ndarray of float64, shape (m,)
        Finite.
    """
    return np.log(-np.log(uniforms(ids, seed=seed, epoch=epoch)))


def soft_top_ids(
    scores: Scores, count: int, *, sharpness: float, seed: int = 0, epoch: int = 0
) -> Ids:
    r"""Return the ids of the `count` highest ``sharpness log q_k - log(-log u_k)``.

    Parameters
    ----------
    scores : ndarray of float32, shape (n,)
        Not NaN; ``inf`` comes before all others.
    count : int
        Samples to keep, in [1, n].
    sharpness : float
        Power of the mid-rank q_k.
    seed, epoch : int
        Key of u_k and of the hash among equal keys.

    Returns
    -------
    ndarray of int32 or int64, shape (count,)
        Kept ids, ascending.

    Notes
    -----
    A histogram bounds every sample's rank, so its key, so the threshold. Only samples
    whose bounds lie on both sides of it need their exact rank: the same ids as if all
    had been ranked. O(n), in scratch space for the few; O(n log n) and 32 bytes a
    sample if most scores differ and share one bin.

    Examples
    --------
    >>> import numpy as np
    >>> from ted_core.strategies.soft_top import soft_top_ids
    >>> soft_top_ids(np.arange(8, dtype=np.float32), 3, sharpness=1e3).tolist()
    [5, 6, 7]
    """
    ranks = RankBins(scores)
    weights = [sharpness * np.log(q) for q in ranks.bounds()]
    for bound in weights:
        bound[-1] = np.inf

    def bounds() -> Iterator[tuple[Bits, ...]]:
        for part in pieces(scores.size):
            bins = ranks.bins(scores[part])
            noise = soft_noise(np.arange(part.start, part.stop), seed=seed, epoch=epoch)
            yield tuple(ordered_bits(soft_keys(w[bins], noise)) for w in weights)

    # what decides the upper half of the bits of the threshold's bounds comes first
    (low, _), (high, _) = upper_halves(bounds, count)
    dtype = id_dtype(scores.size)
    kept, near = np.empty(count, dtype), []
    filled = 0
    for part, (least, most) in zip(pieces(scores.size), bounds(), strict=True):
        above = least >> _HALF > high
        sure = np.flatnonzero(above) + part.start
        kept[filled : filled + sure.size] = sure
        filled += sure.size
        at = np.flatnonzero((most >> _HALF >= low) & ~above)
        near.append(((at + part.start).astype(dtype), least[at], most[at]))
    weights.clear()
    left, least, most = map(np.concatenate, zip(*near, strict=True))
    del near
    above, below = _decided(least, most, count - filled)
    sure, left = left[above], left[~(above | below)]
    kept[filled : filled + sure.size] = sure
    filled += sure.size
    known = np.isfinite(scores[left])
    keys = np.full(left.size, np.inf, np.float32)
    log_weights = sharpness * np.log(ranks.exact(scores[left[known]]))
    noise = soft_noise(left[known], seed=seed, epoch=epoch)
    keys[known] = soft_keys(log_weights, noise)
    places = np.lexsort((tie_hash(left, seed=seed, epoch=epoch), keys))
    kept[filled:] = left[places[left.size - (count - filled) :]]
    kept.sort(kind="stable")
    return kept


def _decided(
    least: Bits, most: Bits, count: int
) -> tuple[NDArray[np.bool_], NDArray[np.bool_]]:
    """Tell which numbers are above the `count`-th highest for sure, and which below."""
    place = least.size - count
    low, high = (np.partition(bits, place)[place] for bits in (least, most))
    return least > high, most < low


@dataclass(frozen=True)
class SoftTop(Ranked):
    r"""Draw without replacement, in proportion to a power of the score's rank.

    One sample after the other is drawn from those left, sample k with a probability
    proportional to ``w_k = q_k^sharpness``; q_k in (0, 1) is the share of the samples
    that score below k, half of the equal ones counted. No sample is sure to stay, and
    none is out for good. The prune ratio is the share of the data that is pruned, as
    for TED.

    Parameters
    ----------
    sharpness : float, default 1
        Power of the rank, in [0, 1e30]: 0 draws uniformly as :class:`Random`; the
        higher, the closer the draw comes to :class:`TopScore`.
    class_floor : float, default 0
        Least share of each class that every epoch keeps, in [0, 1], those drawn first.
        Needs ``labels``.

    Raises
    ------
    ValueError, TypeError
        An argument is out of its range; and from the pruner: see :class:`TopScore`.

    Notes
    -----
    The draw is the `count` highest of ``log w_k - log(-log u_k)`` with u_k uniform in
    (0, 1) by a hash of (seed, epoch, k), which is the same as drawing one by one. A
    sample never presented comes first. Only ranks matter: any increasing function of
    the values draws the same samples. Over shards q_k is known to within 2^-11, see
    `mid_ranks_of_all`. Ours, not from a paper. O(n), and constant scratch space unless
    most scores are nearly equal; see `soft_draw`. Over shards O(n) of scratch space,
    with class floors O(n log n).

    References
    ----------
    P. S. Efraimidis, P. G. Spirakis, Weighted random sampling with a reservoir,
    Information Processing Letters 97, 2006.
    W. Kool, H. van Hoof, M. Welling, Stochastic beams and where to find them: the
    Gumbel-top-k trick for sampling sequences without replacement, ICML 2019.

    Examples
    --------
    >>> import ted_core as ted
    >>> pruner = ted.Pruner(
    ...     1000, epochs=5, schedule=ted.Constant(0.5), strategy=ted.SoftTop()
    ... )
    >>> pruner.observe(range(1000), range(1000))
    >>> pruner.advance()
    >>> kept = pruner.plan().kept
    >>> kept.size, bool(350 < (kept >= 500).sum() < 420)
    (500, True)
    """

    _: KW_ONLY
    sharpness: float = 1.0
    class_floor: float = 0.0

    def __post_init__(self) -> None:
        """Refuse parameters out of range."""
        power = check_real("sharpness", self.sharpness, low=0, high=1e30)
        object.__setattr__(self, "sharpness", power)
        object.__setattr__(self, "class_floor", check_class_floor(self.class_floor))

    def check(
        self, n: int, smallest: int, labels: NDArray[np.signedinteger[Any]] | None
    ) -> None:
        """Refuse missing labels and floors above the smallest epoch."""
        del n
        check_floors(self.class_floor, smallest, labels)

    def select(self, request: Request) -> Selection:
        """Return the ids of the highest keys."""
        if request.count == request.total:
            return Selection(request.all_ids)
        key = {"seed": request.seed, "epoch": request.epoch}
        ranking, power = request.ranking(), self.sharpness
        if self.class_floor == 0 and request.shard is None:
            return Selection(
                soft_top_ids(ranking, request.count, sharpness=power, **key)
            )
        keys = ranking.copy()
        known = np.flatnonzero(~np.isposinf(keys))
        log_weights = power * np.log(_ranks(keys[known], request.shard))
        keys[known] = soft_keys(log_weights, soft_noise(request.named(known), **key))
        return Selection(keep_highest(keys, request, floor=self.class_floor))


def _ranks(scores: Scores, shard: Shard | None) -> NDArray[np.float64]:
    if shard is None:
        return mid_ranks(scores)
    return mid_ranks_of_all(scores, all_sum=shard.all_sum)
