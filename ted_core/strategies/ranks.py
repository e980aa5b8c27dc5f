"""Where a score stands among all scores, in O(n): of one process, and of several."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from ted_core.radix import AllSum
from ted_core.thresholds import ordered_bits
from ted_core.typing import Scores

__all__ = ["mid_ranks", "mid_ranks_of_all"]

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
    >>> from ted_core.strategies.ranks import mid_ranks
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
    >>> from ted_core.strategies.ranks import mid_ranks_of_all
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
