"""The options that a session hands on to its pruner."""

from __future__ import annotations

from numpy.typing import ArrayLike

from ted_core import Shard, defaults

__all__ = ["RunOptions"]


class RunOptions(defaults.RunOptions, total=False):
    """Options of :class:`ted_core.Pruner`; see there for meaning and defaults."""

    initial_scores: ArrayLike | None
    shard: Shard | None
