"""For those who test: Hypothesis strategies, and what any adapter must do.

Needs the extra ``testing``.
"""

from ted_core.testing.conformance import (
    CHECKS,
    PAIRS,
    SIGNAL_PAIRS,
    Adapter,
    ConformanceError,
    LoopAdapter,
    check_resume,
    trains_or_refuses,
)
from ted_core.testing.strategies import run_options, schedules, values

__all__ = [
    "CHECKS",
    "PAIRS",
    "SIGNAL_PAIRS",
    "Adapter",
    "ConformanceError",
    "LoopAdapter",
    "check_resume",
    "run_options",
    "schedules",
    "trains_or_refuses",
    "values",
]
