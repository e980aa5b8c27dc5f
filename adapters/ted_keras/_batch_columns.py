"""What a batch carries as its sample weights: ids, scale, the user's weights."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from keras import ops
from numpy.typing import NDArray

from ted_core.typing import Ids

# A dict of this key, as no weights of a user's own are.
_NAME = "ted"
# An id travels in two parts that float32 holds exactly, for a batch costs by the
# number of its arrays.
_BASE = 4096
_SCALE, _HIGH, _LOW, _WEIGHT = range(4)


@dataclass(frozen=True)
class Columns:
    """A batch's columns (B, 3) or, with the user's weights, (B, 4)."""

    rows: Any

    @property
    def ids(self) -> Any:
        """Sample ids, int32, shape (B,)."""
        high, low = (ops.cast(self.rows[:, part], "int32") for part in (_HIGH, _LOW))
        return high * _BASE + low

    @property
    def scale(self) -> Any:
        """TED's factor of each sample's loss, shape (B,)."""
        return self.rows[:, _SCALE]

    @property
    def user_weights(self) -> Any:
        """The user's weight of each sample, shape (B,), or None."""
        return self.rows[:, _WEIGHT] if self.rows.shape[1] > _WEIGHT else None

    @property
    def weights(self) -> Any:
        """Weight of each sample's loss: the user's times TED's."""
        given = self.user_weights
        return self.scale if given is None else self.scale * given


def pack(order: Ids, scale: NDArray[np.float32]) -> NDArray[np.float32]:
    """Return the columns (k, 3) of an epoch's ids and factors."""
    rows = np.empty((order.size, 3), np.float32)
    rows[:, _SCALE] = scale
    rows[:, _HIGH], rows[:, _LOW] = np.divmod(order, _BASE)
    return rows


def add_weights(
    rows: NDArray[np.float32], weights: NDArray[np.float32] | None
) -> dict[str, NDArray[np.float32]]:
    """Return what a batch carries as its sample weights."""
    if weights is not None:
        rows = np.concatenate([rows, weights[:, None]], axis=1)
    return {_NAME: rows}


def read_columns(sample_weight: Any) -> Columns | None:
    """Return the columns of a session's batch, or None for any other batch."""
    if not isinstance(sample_weight, dict) or _NAME not in sample_weight:
        return None
    return Columns(sample_weight[_NAME])
