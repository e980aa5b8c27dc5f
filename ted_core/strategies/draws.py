"""A strategy's draws: hashes of (seed, epoch, id), keyed apart from those of ties."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from ted_core.randomness import SELECT, stream
from ted_core.strategies.base import Request
from ted_core.ties import tie_hash
from ted_core.typing import Ids

__all__ = ["draw", "uniforms"]


def draw(ids: Ids, count: int, request: Request) -> Ids:
    """Draw `count` of `ids` uniformly without replacement, independent of ties.

    Parameters
    ----------
    ids : ndarray of int, shape (m,)
        Distinct sample ids, ascending.
    count : int
        Ids to draw, of all ranks together.
    request : Request
        Key of the draw, and the ranks.

    Returns
    -------
    ndarray of int, shape (k,)
        The drawn ids of this rank, ascending; the same however the ranks share them.

    Raises
    ------
    ValueError, TypeError
        An argument is out of its range.

    Notes
    -----
    O(m). Samples left over by a tie have low tie hashes; this key is another, so
    that they are drawn as often as all others.

    Examples
    --------
    >>> import numpy as np
    >>> from ted_core import Request
    >>> from ted_core.strategies.draws import draw
    >>> request = Request(9, 4, 0.5, epoch=1, seed=0, ranking=lambda: np.zeros(9))
    >>> draw(np.arange(5, 9), 4, request).tolist()
    [5, 6, 7, 8]
    """
    return request.draw(ids, count, seed=_key(request.seed, request.epoch))


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
    >>> from ted_core.strategies.draws import uniforms
    >>> numbers = uniforms(np.arange(1000), seed=0, epoch=1)
    >>> bool(0 < numbers.min() < 0.1 and 0.9 < numbers.max() < 1)
    True
    """
    hashes = tie_hash(ids, seed=_key(seed, epoch), epoch=epoch)
    # 52 bits and a half: 2^-53 from either end, and exact
    return ((hashes >> np.uint64(12)).astype(np.float64) + 0.5) * 2.0**-52


def _key(seed: int, epoch: int) -> int:
    bits = stream(seed, purpose=SELECT, epoch=epoch).bit_generator
    return int(bits.random_raw())
