"""Every strategy with every schedule and signal: trained as planned, or refused."""

from __future__ import annotations

from typing import Any

import numpy as np

from ted_core.schedules import Constant, Cosine, Linear, RollerCoaster, Schedule
from ted_core.signals import SIGNALS
from ted_core.strategies import (
    UCB,
    EpsilonGreedy,
    Importance,
    InfoBatch,
    Random,
    SoftTop,
    Static,
    Strategy,
    TopScore,
)
from ted_core.testing.conformance import (
    BATCH,
    CHECKS,
    EPOCHS,
    SAMPLES,
    ConformanceError,
    MakeAdapter,
    planned,
)

__all__ = ["PAIRS", "SIGNAL_PAIRS", "trains_or_refuses"]

_STRATEGIES: tuple[Strategy, ...] = (
    TopScore(),
    SoftTop(),
    Random(),
    EpsilonGreedy(epsilon=0.25),
    UCB(),
    InfoBatch(),
    Importance(),
    Static(np.arange(SAMPLES) * 5 % 11),
)
_SCHEDULES: tuple[Schedule, ...] = (
    RollerCoaster(0.7),
    Linear(0.7, warmup=1),
    Cosine(0.5, anneal=0),
    Constant(0.6),
)


def _named(**options: Any) -> tuple[str, dict[str, Any]]:
    parts = [v if isinstance(v, str) else type(v).__name__ for v in options.values()]
    return " x ".join(parts), options


PAIRS: dict[str, dict[str, Any]] = dict(
    _named(strategy=strategy, schedule=schedule)
    for strategy in _STRATEGIES
    for schedule in _SCHEDULES
)
"""Options of a run by name, every strategy with every schedule."""

SIGNAL_PAIRS: dict[str, dict[str, Any]] = dict(
    _named(strategy=strategy, signal=signal)
    for strategy in _STRATEGIES
    for signal in SIGNALS
)
"""Options of a run by name, every strategy with every signal, some of them refused."""


def trains_or_refuses(make: MakeAdapter, options: dict[str, Any]) -> bool:
    """Check that an adapter trains a run as the core plans it, or refuses it alike.

    Parameters
    ----------
    make : callable
        Makes an adapter.
    options : dict
        Options of :class:`ted_core.Pruner`, without n and epochs: an entry of
        :data:`PAIRS` or :data:`SIGNAL_PAIRS`, or one of your own for 37 samples.

    Returns
    -------
    bool
        True if the run is trained, and all of :data:`CHECKS` hold; False if it is
        refused with the core's message.

    Raises
    ------
    ConformanceError
        A check fails, or only one of the two refuses.

    Examples
    --------
    >>> from ted_core.testing import PAIRS, SIGNAL_PAIRS, LoopAdapter
    >>> from ted_core.testing import trains_or_refuses
    >>> trains_or_refuses(LoopAdapter, PAIRS["InfoBatch x Constant"])
    True
    >>> trains_or_refuses(LoopAdapter, SIGNAL_PAIRS["UCB x forgetting"])
    False
    """
    core = _refusal(lambda: planned(options))
    found = _refusal(
        lambda: make().start(SAMPLES, batch_size=BATCH, epochs=EPOCHS, **options)
    )
    if core is not None:
        if found is None or core not in found:
            msg = f"{options} must be refused with {core!r}, got {found!r}"
            raise ConformanceError(msg)
        return False
    if found is not None:
        msg = f"{options} must be trained, got {found!r}"
        raise ConformanceError(msg)
    for check in CHECKS.values():
        check(make, [options])
    return True


def _refusal(start: Any) -> str | None:
    try:
        start()
    except (TypeError, ValueError) as error:
        return f"{type(error).__name__}: {error}"
    return None
