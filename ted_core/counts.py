"""How many samples an epoch keeps and how many optimizer steps they make."""

from __future__ import annotations

import math
from typing import TypedDict

import numpy as np

from ted_core._checks import check_bool, check_int, check_real, check_samples

__all__ = ["StepOptions", "id_dtype", "keep_count", "steps_for"]


class StepOptions(TypedDict, total=False):
    """Options of :func:`ted_core.steps_for`."""

    accumulation: int
    world_size: int
    drop_last: bool


def keep_count(n: int, keep_ratio: float, *, multiple_of: int = 1) -> int:
    r"""Count the samples an epoch keeps, max(1, floor(r_t n + 1/2)).

    Parameters
    ----------
    n : int
        Samples in the data set, at least 1.
    keep_ratio : float
        Nominal keep ratio r_t, in (0, 1].
    multiple_of : int, default 1
        The count is rounded up to a multiple of this, never above `n`.

    Returns
    -------
    int
        Samples to keep, in [1, n].

    Raises
    ------
    ValueError, TypeError
        An argument is out of its range or of a wrong type.

    Examples
    --------
    >>> from ted_core import keep_count
    >>> keep_count(1000, 0.3), keep_count(1000, 0.3, multiple_of=128)
    (300, 384)
    """
    n = check_samples(n)
    ratio = check_real("keep_ratio", keep_ratio, low=0, high=1, closed="right")
    multiple_of = check_int("multiple_of", multiple_of, minimum=1)
    count = max(1, math.floor(ratio * n + 0.5))
    return min(n, -(-count // multiple_of) * multiple_of)


def steps_for(
    count: int,
    batch_size: int,
    *,
    accumulation: int = 1,
    world_size: int = 1,
    drop_last: bool = False,
) -> int:
    """Count the optimizer steps that `count` samples make.

    Parameters
    ----------
    count : int
        Samples of the epoch, over all ranks.
    batch_size : int
        Samples of one batch on one rank.
    accumulation : int, default 1
        Batches of one optimizer step; a remainder makes a step of its own.
    world_size : int, default 1
        Ranks that share the samples; uneven shares are padded, or cut with
        `drop_last`, as ``torch.utils.data.DistributedSampler`` does.
    drop_last : bool, default False
        Whether the loader drops an incomplete last batch.

    Returns
    -------
    int
        Optimizer steps.

    Raises
    ------
    ValueError, TypeError
        An argument is not an integer in its range.

    Examples
    --------
    >>> from ted_core import steps_for
    >>> steps_for(1000, 128), steps_for(1000, 128, world_size=2, drop_last=True)
    (8, 3)
    """
    count = check_int("count", count, minimum=0)
    batch_size = check_int("batch_size", batch_size, minimum=1)
    accumulation = check_int("accumulation", accumulation, minimum=1)
    world_size = check_int("world_size", world_size, minimum=1)
    if check_bool("drop_last", drop_last):
        batches = count // world_size // batch_size
    else:
        share = _divide_up(count, world_size)
        batches = _divide_up(share, batch_size)
    return _divide_up(batches, accumulation)


def _divide_up(number: int, by: int) -> int:
    return -(-number // by)


def id_dtype(n: int) -> type[np.int32 | np.int64]:
    """Return the narrowest dtype of the library's ids for `n` samples.

    Parameters
    ----------
    n : int
        Samples in the data set.

    Returns
    -------
    type
        ``numpy.int32`` up to 2^31 samples, then ``numpy.int64``.

    Examples
    --------
    >>> from ted_core.counts import id_dtype
    >>> id_dtype(10**8).__name__
    'int32'
    """
    return np.int32 if n <= 2**31 else np.int64
