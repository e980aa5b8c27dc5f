"""Names for the arrays that cross the library's doors."""

from __future__ import annotations

from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

__all__ = ["Counts", "Ids", "Scores", "State", "StateValue"]

Ids: TypeAlias = NDArray[np.signedinteger[Any]]
"""Sample ids in ``[0, n)``, shape (m,)."""

Scores: TypeAlias = NDArray[np.float32]
"""One score a sample, shape (n,); high means keep, NaN means none yet."""

Counts: TypeAlias = NDArray[np.unsignedinteger[Any]]
"""How often each sample was seen, shape (n,)."""

StateValue: TypeAlias = NDArray[Any] | str | int | float | bool
"""What a state holds under one key."""

State: TypeAlias = dict[str, StateValue]
"""A flat state: NumPy arrays and plain values only."""
