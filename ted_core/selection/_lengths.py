"""Put samples of like lengths into the same batches, so that little is padded."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

_MAX_BATCHES = 50  # of a megabatch: more would pad less, and shuffle less
_MIN_MEGABATCHES = 4


def group_by_length(lengths: NDArray[np.int32], batch_size: int) -> NDArray[np.int64]:
    """Return the order in which a shuffled epoch's samples are visited, shape (k,).

    The shuffled samples are cut into megabatches of up to 50 batches, and each is
    sorted, the longest first; the first batch has the longest sample of all, so that
    memory fails in the first step or never. Pure, O(k log k).
    """
    k = lengths.size
    batches = min(max(k // (batch_size * _MIN_MEGABATCHES), 1), _MAX_BATCHES)
    order = np.arange(k)
    longest = int(lengths.argmax())
    order[[0, longest]] = longest, 0
    megabatch = np.arange(k) // (batches * batch_size)
    grouped: NDArray[np.int64] = order[np.lexsort((-lengths[order], megabatch))]
    return grouped
