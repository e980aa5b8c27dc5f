"""What a reduction is: the rule that makes one score of many values."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Protocol, TypeAlias, runtime_checkable

import numpy as np
from numpy.typing import NDArray

from ted_core.typing import Scores

__all__ = ["Columns", "Reduction"]

Columns: TypeAlias = dict[str, NDArray[Any]]
"""State columns by name, each of shape (m,); ``"score"`` is always among them."""


@runtime_checkable
class Reduction(Protocol):
    """What the score book asks of a reduction."""

    @property
    def extra_columns(self) -> Mapping[str, type[np.generic]]:
        """Dtypes of the columns beside ``"score"``; they start at 0."""

    def update(self, columns: Columns, visits: NDArray[Any], value: Scores) -> Columns:
        """Return the columns after one more value of each sample."""

    def rank(self, columns: Columns, visits: NDArray[Any]) -> Scores:
        """Return what the strategy ranks by; may be the score itself."""

    def begin(self, scores: Scores) -> Columns:
        """Return the columns that stand for given scores after one visit."""
