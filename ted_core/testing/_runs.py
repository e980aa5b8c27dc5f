"""The runs that the conformance suite trains, and how two states compare."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from ted_core.pruner import Pruner
from ted_core.schedules import Cosine, RollerCoaster
from ted_core.strategies import Random, TopScore
from ted_core.testing.adapter import Adapter
from ted_core.typing import State

__all__ = [
    "BATCH",
    "EPOCHS",
    "RUNS",
    "SAMPLES",
    "ConformanceError",
    "MakeAdapter",
    "Runs",
    "compare",
    "planned",
    "started",
    "values_of",
]

MakeAdapter: TypeAlias = Callable[[], Adapter]
"""Makes an adapter that has not started."""

Runs: TypeAlias = Sequence[dict[str, Any]]
"""Options of :class:`ted_core.Pruner`, without n and epochs, of several runs."""

SAMPLES, BATCH, EPOCHS = 37, 8, 6

RUNS: Runs = (
    {"prune_ratio": 0.7, "seed": 1},
    {"schedule": RollerCoaster(0.5, anneal=0), "strategy": TopScore()},
    {"schedule": Cosine(0.7), "strategy": Random(), "multiple_of": BATCH},
)


class ConformanceError(AssertionError):
    """An adapter does not do what the core does; the message says where."""


def planned(options: dict[str, Any]) -> Pruner:
    """Return the core of a run."""
    return Pruner(SAMPLES, epochs=EPOCHS, **options)


def started(
    make: MakeAdapter, options: dict[str, Any], *, batch_size: int = BATCH
) -> tuple[Adapter, Pruner]:
    """Return an adapter that has started a run, and the core of the same run."""
    adapter = make()
    adapter.start(SAMPLES, batch_size=batch_size, epochs=EPOCHS, **options)
    return adapter, planned(options)


def values_of(epoch: int) -> NDArray[np.float32]:
    """Return values with ties that float32 holds exactly."""
    return ((np.arange(SAMPLES) * (epoch + 3)) % 17 / 8).astype(np.float32)


def compare(expected: State, found: State, where: str) -> None:
    """Refuse a core's state that is another than the expected one."""
    for name, value in expected.items():
        if name == "stopped" or name.startswith("history."):
            continue
        if name not in found or not np.array_equal(
            found[name], value, equal_nan=name == "book.score"
        ):
            msg = f"{name!r} must be {value} {where}, got {found.get(name)}"
            raise ConformanceError(msg)
