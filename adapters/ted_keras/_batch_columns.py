"""What a batch carries as its sample weights: ids, scale, the user's weights."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from keras import ops
from numpy.typing import NDArray

from ted_core.typing import Ids

# Keys of a dict, as no weights of a user's own are.
_NAME, _GIVEN = "ted", "ted_given"
# An id travels in two parts that float32 holds exactly, for a batch costs by the
# number of its arrays.
_BASE = 4096
_PLAIN = 3  # scale and id; the weight of that part and further parts where it is mixed


@dataclass(frozen=True)
class Columns:
    """A batch's columns (B, 3), or (B, 1 + 3 m) of m mixed parts; a user's weights."""

    rows: Any
    given: Any = None  # one array (B, ...), or one for each output

    @property
    def scale(self) -> Any:
        """TED's factor of each sample's loss, shape (B,)."""
        return self.rows[:, 0]

    @property
    def parts(self) -> list[tuple[Any, Any]]:
        """Ids, int32, and weights of each mixed part, shape (B,); None of a plain."""
        width, found = self.rows.shape[1], []
        for at in range(1, width, 3):
            high, low = (ops.cast(self.rows[:, at + k], "int32") for k in (0, 1))
            share = self.rows[:, at + 2] if width > _PLAIN else None
            found.append((high * _BASE + low, share))
        return found


def pack(order: Ids, scale: NDArray[np.float32]) -> NDArray[np.float32]:
    """Return the columns (k, 3) of an epoch's ids and factors."""
    return np.stack([scale, *np.divmod(order, _BASE)], axis=1, dtype=np.float32)


def pack_parts(parts: Sequence[tuple[Ids, NDArray[np.float32]]]) -> NDArray[np.float32]:
    """Return the columns of mixed parts that follow those of the batch's own ids."""
    (_, own), *others = parts
    columns = [own]
    for ids, share in others:
        columns += [*np.divmod(ids, _BASE), share]
    return np.stack(columns, axis=1, dtype=np.float32)


def sample_weights(
    rows: NDArray[np.float32], weights: Any, parts: NDArray[np.float32] | None
) -> dict[str, Any]:
    """Return what a batch carries as its sample weights."""
    if parts is not None:
        rows = np.concatenate([rows, parts], axis=1)
    return {_NAME: rows} if weights is None else {_NAME: rows, _GIVEN: weights}


def read_columns(sample_weight: Any) -> Columns | None:
    """Return the columns of a session's batch, or None for any other batch."""
    if isinstance(sample_weight, dict) and _NAME in sample_weight:
        return Columns(sample_weight[_NAME], sample_weight.get(_GIVEN))
    return None
