"""Random streams: one for each purpose and epoch, none of them global."""

from __future__ import annotations

import numpy as np

from ted_core._checks import check_int

__all__ = ["ORDER", "SELECT", "SHARD", "stream"]

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
    >>> from ted_core.randomness import ORDER, stream
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
