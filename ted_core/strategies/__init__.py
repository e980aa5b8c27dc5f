"""Which samples an epoch keeps, and with which weight: one file a strategy."""

from __future__ import annotations

from ted_core.strategies.base import Request, Selection, Strategy
from ted_core.strategies.random import Random
from ted_core.strategies.top_score import TopScore

__all__ = ["Random", "Request", "Selection", "Strategy", "TopScore"]
