"""The order among equal scores: a hash of (seed, epoch, id)."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from ted_core._checks import as_array, check_int
from ted_core.thresholds import Bits, pieces, thresholds
from ted_core.typing import Ids

__all__ = ["highest_hashes", "tie_hash"]

_MASK = (1 << 64) - 1


def tie_hash(ids: Ids, *, seed: int = 0, epoch: int = 0) -> NDArray[np.uint64]:
    """Hash (seed, epoch, id) to 64 bits, one to one in the id.

    Among equal scores the higher hash is kept, so that neither the position in the
    data set nor the same samples every epoch decide.

    Parameters
    ----------
    ids : ndarray of int, shape (m,)
        Sample ids, at least 0.
    seed : int, default 0
        Seed of the run, in [0, 2^64).
    epoch : int, default 0
        Epoch, at least 0.

    Returns
    -------
    ndarray of uint64, shape (m,)
        Distinct for distinct ids.

    Notes
    -----
    The finaliser of SplitMix64, twice over the key. Cost: O(m).

    References
    ----------
    G. L. Steele, D. Lea, C. H. Flood, Fast splittable pseudorandom number
    generators, OOPSLA 2014.

    Examples
    --------
    >>> import numpy as np
    >>> from ted_core import tie_hash
    >>> len(set(tie_hash(np.arange(1000), seed=1, epoch=2).tolist()))
    1000
    """
    seed = check_int("seed", seed, minimum=0, maximum=_MASK)
    epoch = check_int("epoch", epoch, minimum=0, maximum=_MASK)
    key = _mix_int(_mix_int(seed) ^ epoch)
    z = _as_ids(ids).astype(np.uint64)
    z += np.uint64(key)
    z ^= z >> np.uint64(30)
    z *= np.uint64(0xBF58476D1CE4E5B9)
    z ^= z >> np.uint64(27)
    z *= np.uint64(0x94D049BB133111EB)
    z ^= z >> np.uint64(31)
    return z


def highest_hashes(ids: Ids, count: int, *, seed: int = 0, epoch: int = 0) -> Ids:
    """Return the `count` ids of the highest hash: a uniform draw, the same anywhere.

    Parameters
    ----------
    ids : ndarray of int, shape (m,)
        Distinct sample ids, ascending.
    count : int
        Ids to draw, in [0, m].
    seed, epoch : int
        Key of :func:`tie_hash`.

    Returns
    -------
    ndarray of int, shape (count,)
        The drawn ids, ascending.

    Raises
    ------
    ValueError, TypeError
        `count` is out of range.

    Notes
    -----
    O(m), in constant scratch space: the threshold is that of the upper 32 bits of the
    hash, the few ids that share them are ordered by the rest.

    Examples
    --------
    >>> import numpy as np
    >>> from ted_core import highest_hashes
    >>> highest_hashes(np.arange(10), 10).tolist()
    [0, 1, 2, 3, 4, 5, 6, 7, 8, 9]
    """
    ids = _as_ids(ids)
    count = check_int("count", count, minimum=0, maximum=ids.size)
    if count == ids.size:
        return ids.copy()
    if count == 0:
        return ids[:0].copy()

    def bits() -> Iterator[tuple[Bits]]:
        for part in pieces(ids.size):
            hashes = tie_hash(ids[part], seed=seed, epoch=epoch)
            yield ((hashes >> np.uint64(32)).astype(np.uint32),)

    (threshold,) = thresholds(bits, count)
    drawn, level = np.empty(count, ids.dtype), []
    filled = 0
    for part, (upper,) in zip(pieces(ids.size), bits(), strict=True):
        above = ids[part][upper > threshold]
        drawn[filled : filled + above.size] = above
        filled += above.size
        level.append(ids[part][upper == threshold])
    tied = np.concatenate(level)
    ranks = np.argsort(tie_hash(tied, seed=seed, epoch=epoch))
    drawn[filled:] = tied[ranks[tied.size - (count - filled) :]]
    drawn.sort(kind="stable")
    return drawn


def _as_ids(ids: Ids) -> Ids:
    array: Ids = as_array("ids", ids)
    if array.ndim != 1 or array.dtype.kind not in "iu":
        msg = (
            "`ids` must hold integers of shape (m,), got "
            f"{array.dtype} of shape {array.shape}"
        )
        raise TypeError(msg)
    return array


def _mix_int(z: int) -> int:
    z = (z + 0x9E3779B97F4A7C15) & _MASK
    z = ((z ^ (z >> 30)) * 0xBF58476D1CE4E5B9) & _MASK
    z = ((z ^ (z >> 27)) * 0x94D049BB133111EB) & _MASK
    return z ^ (z >> 31)
