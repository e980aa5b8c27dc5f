"""Random streams: one for each purpose and epoch, none of them global."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from ted_core._validation import as_array, check_int
from ted_core.typing import Ids

__all__ = [
    "ORDER",
    "SELECT",
    "SHARD",
    "stream",
    "tie_hash",
    "uniforms",
]

ORDER = 1


"""Purpose number of the shuffle of an epoch."""


SELECT = 2


"""Purpose number of a strategy's draw."""


SHARD = 3


"""Purpose number of a rank's own seed; the rank stands for the epoch."""


def stream(seed: int, *, purpose: int, epoch: int) -> np.random.Generator:
    """Return the generator of one purpose in one epoch.

    Parameters
    ----------
    seed : int
        Seed of the run, in [0, 2^64).
    purpose : int
        One number for each use, in [1, 2^64).
    epoch : int
        Epoch, in [0, 2^64).

    Returns
    -------
    numpy.random.Generator
        Philox with the seed as key and (purpose, epoch) in the upper half of its
        counter, so that two streams share no block before 2^128 of them.

    Raises
    ------
    ValueError, TypeError
        An argument is not an integer in its range.

    References
    ----------
    J. K. Salmon et al., Parallel random numbers: as easy as 1, 2, 3, SC 2011.

    Examples
    --------
    >>> from ted_core.selection.randomness import ORDER, stream
    >>> a = stream(0, purpose=ORDER, epoch=3).integers(100, size=2)
    >>> b = stream(0, purpose=ORDER, epoch=3).integers(100, size=2)
    >>> (a == b).all().item()
    True
    """
    top = (1 << 64) - 1
    seed = check_int("seed", seed, minimum=0, maximum=top)
    purpose = check_int("purpose", purpose, minimum=1, maximum=top)
    epoch = check_int("epoch", epoch, minimum=0, maximum=top)
    key = np.array([seed, 0], np.uint64)
    counter = np.array([0, 0, purpose, epoch], np.uint64)
    return np.random.Generator(np.random.Philox(key=key, counter=counter))


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
    z = as_ids(ids).astype(np.uint64)
    z += np.uint64(key)
    z ^= z >> np.uint64(30)
    z *= np.uint64(0xBF58476D1CE4E5B9)
    z ^= z >> np.uint64(27)
    z *= np.uint64(0x94D049BB133111EB)
    z ^= z >> np.uint64(31)
    return z


def as_ids(ids: Ids) -> Ids:
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


def uniforms(ids: Ids, *, seed: int, epoch: int) -> NDArray[np.float64]:
    """Return one number a sample, uniform in (0, 1).

    Parameters
    ----------
    ids : ndarray of int, shape (m,)
        Sample ids.
    seed, epoch : int
        Key of the draw.

    Returns
    -------
    ndarray of float64, shape (m,)
        Multiples of 2^-53 strictly between 0 and 1.

    Raises
    ------
    ValueError, TypeError
        An argument is out of its range.

    Notes
    -----
    O(m).

    Examples
    --------
    >>> import numpy as np
    >>> from ted_core.selection.randomness import uniforms
    >>> numbers = uniforms(np.arange(1000), seed=0, epoch=1)
    >>> bool(0 < numbers.min() < 0.1 and 0.9 < numbers.max() < 1)
    True
    """
    hashes = tie_hash(ids, seed=draw_key(seed, epoch), epoch=epoch)
    # 52 bits and a half: 2^-53 from either end, and exact
    return ((hashes >> np.uint64(12)).astype(np.float64) + 0.5) * 2.0**-52


def draw_key(seed: int, epoch: int) -> int:
    bits = stream(seed, purpose=SELECT, epoch=epoch).bit_generator
    return int(bits.random_raw())
