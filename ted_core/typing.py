"""Names for the arrays and states that users hand in and get back."""

from __future__ import annotations

from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

__all__ = ["Counts", "Floats", "Ids", "Scores", "State", "StateValue"]

Ids: TypeAlias = NDArray[np.signedinteger[Any]]
"""Sample ids in ``[0, n)``, shape (m,)."""

Scores: TypeAlias = NDArray[np.float32]
"""One score a sample, shape (n,); high means keep, NaN means none yet."""

Counts: TypeAlias = NDArray[np.unsignedinteger[Any]]
"""How often each sample was seen, shape (n,)."""

Floats: TypeAlias = NDArray[np.float64]
"""Numbers of an analysis or a ranking, of any shape."""

StateValue: TypeAlias = NDArray[Any] | str | int | float | bool
"""What a state holds under one key."""

State: TypeAlias = dict[str, StateValue]
"""A flat state: NumPy arrays and plain values only."""


def id_dtype(n: int) -> type[np.int32 | np.int64]:
    """Return the narrowest dtype of the library's ids for `n` samples."""
    return np.int32 if n <= 2**31 else np.int64
