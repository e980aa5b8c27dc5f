"""Where a score stands among all scores, in O(n)."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from ted_core.typing import Scores

__all__ = ["mid_ranks"]


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
    values = np.asarray(scores, np.float32) + np.float32(0)  # -0 becomes 0
    bits = values.view(np.uint32)
    # as unsigned numbers: negative ones below, in the reverse order of their bits
    bits = np.where(bits >> 31, ~bits, bits | np.uint32(1 << 31))
    order = np.argsort(bits.astype(np.uint16), kind="stable")
    high = (bits >> np.uint32(16)).astype(np.uint16)
    order = order[np.argsort(high[order], kind="stable")]
    ordered = bits[order]
    first = np.flatnonzero(np.append(True, ordered[1:] != ordered[:-1])[: values.size])
    sizes = np.diff(np.append(first, values.size))
    ranks = np.empty(values.size)
    ranks[order] = np.repeat((first + sizes / 2) / max(values.size, 1), sizes)
    return ranks
