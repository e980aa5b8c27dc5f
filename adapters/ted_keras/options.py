"""The options that a session hands on: to its pruner, and to Keras' workers."""

from __future__ import annotations

from typing import TypedDict

from numpy.typing import ArrayLike

from ted_core.reductions import Reduction
from ted_core.schedules import Schedule
from ted_core.strategies import Strategy

__all__ = ["RunOptions", "WorkerOptions"]


class RunOptions(TypedDict, total=False):
    """Options of :class:`ted_core.Pruner`; see there for meaning and defaults."""

    prune_ratio: float | None
    schedule: Schedule | None
    strategy: Strategy | None
    signal: str
    reduction: Reduction | None
    seed: int
    scale_loss: bool
    labels: ArrayLike | None
    initial_scores: ArrayLike | None


class WorkerOptions(TypedDict, total=False):
    """Options of :class:`keras.utils.PyDataset`; see there."""

    workers: int
    use_multiprocessing: bool
    max_queue_size: int
