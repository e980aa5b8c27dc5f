"""The draw of SoftTop, with the rank of each sample only where it decides."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from ted_core.counts import id_dtype
from ted_core.strategies.draws import uniforms
from ted_core.strategies.rank_bins import RankBins
from ted_core.thresholds import Bits, ordered_bits, pieces, upper_halves
from ted_core.ties import tie_hash
from ted_core.typing import Ids, Scores

__all__ = ["soft_keys", "soft_noise", "soft_top_ids"]

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
    >>> from ted_core.strategies.soft_draw import soft_top_ids
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
