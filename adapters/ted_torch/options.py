"""The options that a session hands on to its pruner."""

from __future__ import annotations

from typing import TypedDict

from numpy.typing import ArrayLike

from ted_core.reductions import Reduction
from ted_core.schedules import Schedule
from ted_core.strategies import Strategy

__all__ = ["RunOptions"]


class RunOptions(TypedDict, total=False):
    """Options of :class:`ted_core.Pruner`; see there for meaning and defaults."""

    prune_ratio: float | None
    schedule: Schedule | None
    strategy: Strategy | None
    reduction: Reduction | None
    seed: int
    multiple_of: int
    scale_loss: bool
    labels: ArrayLike | None
    initial_scores: ArrayLike | None
