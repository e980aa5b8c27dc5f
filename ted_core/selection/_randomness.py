"""Random streams and hashes: one for each purpose and epoch, none of them global."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from ted_core._validation import as_array, check_int
from ted_core.typing import Ids

# Purpose numbers of the streams: the shuffle of an epoch, a strategy's random
# selection, and the seed of one process, whose index then stands for the epoch.
ORDER, SELECT, SHARD = 1, 2, 3

_MASK = (1 << 64) - 1


def stream(seed: int, *, purpose: int, epoch: int) -> np.random.Generator:
    """Return the generator of one purpose in one epoch (Philox; Salmon et al. 2011)."""
    seed = check_int("seed", seed, minimum=0, maximum=_MASK)
    purpose = check_int("purpose", purpose, minimum=1, maximum=_MASK)
    epoch = check_int("epoch", epoch, minimum=0, maximum=_MASK)
    key = np.array([seed, 0], np.uint64)
    # In the upper half of the counter: two streams share no block before 2^128.
    counter = np.array([0, 0, purpose, epoch], np.uint64)
    return np.random.Generator(np.random.Philox(key=key, counter=counter))


def first_word(seed: int, *, purpose: int, epoch: int) -> int:
    """Return the first 64 bits of a stream, as a seed of its own."""
    generator = stream(seed, purpose=purpose, epoch=epoch)
    return int(generator.bit_generator.random_raw())


def tie_hash(ids: Ids, *, seed: int = 0, epoch: int = 0) -> NDArray[np.uint64]:
    """Hash (seed, epoch, id) to 64 bits: SplitMix64, one to one in the id, O(m)."""
    # Among equal scores the higher hash is kept, so that neither the position in the
    # data set nor the same samples every epoch decide (Steele, Lea, Flood 2014).
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
    """Return `ids` as an array of integers of shape (m,), or refuse them."""
    array: Ids = as_array("ids", ids)
    if array.ndim != 1 or array.dtype.kind not in "iu":
        msg = (
            "`ids` must hold integers of shape (m,), got "
            f"{array.dtype} of shape {array.shape}"
        )
        raise TypeError(msg)
    return array


def _mix_int(z: int) -> int:
    """Mix the bits of one integer as SplitMix64 does."""
    z = (z + 0x9E3779B97F4A7C15) & _MASK
    z = ((z ^ (z >> 30)) * 0xBF58476D1CE4E5B9) & _MASK
    z = ((z ^ (z >> 27)) * 0x94D049BB133111EB) & _MASK
    return z ^ (z >> 31)
