"""What rides in the place of a batch's sample weights: ids, scale, weights."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from keras import ops
from numpy.typing import NDArray

from ted_core.typing import Ids

__all__ = ["Slot", "add_weights", "pack", "read"]

_NAME, _LIMB = "ted", 4096
_SCALE, _HIGH, _LOW, _WEIGHT = range(4)


@dataclass(frozen=True)
class Slot:
    """A batch's columns, each read where the step needs it.

    Parameters
    ----------
    rows : tensor of float32, shape (B, 3) or (B, 4)
        What :func:`add_weights` made.
    """

    rows: Any

    @property
    def ids(self) -> Any:
        """Sample ids, int32, shape (B,)."""
        high, low = (ops.cast(self.rows[:, part], "int32") for part in (_HIGH, _LOW))
        return high * _LIMB + low

    @property
    def scale(self) -> Any:
        """TED's factor of each sample's loss, shape (B,)."""
        return self.rows[:, _SCALE]

    @property
    def base(self) -> Any:
        """The user's weight of each sample, shape (B,), or None."""
        return self.rows[:, _WEIGHT] if self.rows.shape[1] > _WEIGHT else None

    @property
    def weights(self) -> Any:
        """Weight of each sample's loss: the user's times TED's."""
        base = self.base
        return self.scale if base is None else self.scale * base


def pack(order: Ids, scale: NDArray[np.float32]) -> NDArray[np.float32]:
    """Return the columns of an epoch, one row a sample.

    Parameters
    ----------
    order : ndarray of int, shape (k,)
        Ids in [0, 2^31).
    scale : ndarray of float32, shape (k,)
        Factor of each one's loss.

    Returns
    -------
    ndarray of float32, shape (k, 3)
        One array, since a batch costs by the number of its arrays; an id travels in
        two limbs that float32 holds exactly.

    Examples
    --------
    >>> import numpy as np
    >>> from ted_keras.batch_columns import pack
    >>> pack(np.array([5000]), np.float32([2])).tolist()
    [[2.0, 1.0, 904.0]]
    """
    rows = np.empty((order.size, 3), np.float32)
    rows[:, _SCALE] = scale
    rows[:, _HIGH], rows[:, _LOW] = np.divmod(order, _LIMB)
    return rows


def add_weights(
    rows: NDArray[np.float32], weights: NDArray[np.float32] | None
) -> dict[str, NDArray[np.float32]]:
    """Return what stands in the place of a batch's sample weights.

    Parameters
    ----------
    rows : ndarray of float32, shape (B, 3)
        A batch of :func:`pack`.
    weights : ndarray of float32, shape (B,), or None
        The user's weights.

    Returns
    -------
    dict of str to ndarray of float32, shape (B, 3) or (B, 4)
        A dict, as no weights of a user's own are.

    Examples
    --------
    >>> import numpy as np
    >>> from ted_keras.batch_columns import add_weights
    >>> {k: v.shape for k, v in add_weights(np.ones((2, 3)), np.ones(2)).items()}
    {'ted': (2, 4)}
    """
    if weights is not None:
        rows = np.concatenate([rows, weights[:, None]], axis=1)
    return {_NAME: rows}


def read(sample_weight: Any) -> Slot | None:
    """Return the columns of a session's batch, or None for any other batch.

    Parameters
    ----------
    sample_weight : tensor, nested structure of tensors, or None
        What Keras hands on.

    Returns
    -------
    Slot or None
        Traceable; O(B).

    Examples
    --------
    >>> import numpy as np
    >>> from keras import ops
    >>> from ted_keras.batch_columns import add_weights, pack, read
    >>> rows = add_weights(pack(np.array([70000]), np.float32([2])), None)
    >>> ops.convert_to_numpy(read(rows).ids).tolist(), read(None)
    ([70000], None)
    """
    if not isinstance(sample_weight, dict) or _NAME not in sample_weight:
        return None
    return Slot(sample_weight[_NAME])
