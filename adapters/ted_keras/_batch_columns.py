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
    def user_weights(self) -> Any:
        """The user's weight of each sample, shape (B,), or None."""
        return self.rows[:, _WEIGHT] if self.rows.shape[1] > _WEIGHT else None

    @property
    def weights(self) -> Any:
        """Weight of each sample's loss: TED's factor, times the user's weight."""
        scale, given = self.rows[:, _SCALE], self.user_weights
        return scale if given is None else scale * given


def pack(order: Ids, scale: NDArray[np.float32]) -> NDArray[np.float32]:
    """Return the columns (k, 3) of an epoch's ids and factors."""
    high, low = np.divmod(order, _BASE)
    return np.stack([scale, high, low], axis=1, dtype=np.float32)


def add_weights(
    rows: NDArray[np.float32], weights: NDArray[np.float32] | None
) -> dict[str, NDArray[np.float32]]:
    """Return what a batch carries as its sample weights."""
    if weights is not None:
        rows = np.concatenate([rows, weights[:, None]], axis=1)
    return {_NAME: rows}


def read_columns(sample_weight: Any) -> Columns | None:
    """Return the columns of a session's batch, or None for any other batch."""
    if isinstance(sample_weight, dict) and _NAME in sample_weight:
        return Columns(sample_weight[_NAME])
    return None
