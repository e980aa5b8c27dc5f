"""What every adapter must do: checks to parametrise a test over."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from ted_core.pruner import Pruner
from ted_core.schedules import Cosine, RollerCoaster
from ted_core.strategies import Random, TopScore
from ted_core.testing.adapter import Adapter
from ted_core.typing import State

__all__ = [
    "CHECKS",
    "ConformanceError",
    "MakeAdapter",
    "resumed_equals_never_stopped",
    "same_ids_in_the_same_order",
    "same_scores",
    "the_loss_is_divided_by_the_keep_ratio",
    "total_steps_are_the_steps_run",
]

MakeAdapter: TypeAlias = Callable[[], Adapter]
"""Makes an adapter that has not started."""

_N, _BATCH, _EPOCHS = 37, 8, 6


class ConformanceError(AssertionError):
    """An adapter does not do what the core does; the message says where."""


def same_ids_in_the_same_order(make: MakeAdapter) -> None:
    """Check that every step trains on the ids that the core plans, in its order.

    Parameters
    ----------
    make : callable
        Makes an adapter.

    Raises
    ------
    ConformanceError
        An epoch's ids or their order differ.
    """
    for options in _runs():
        adapter, core = _started(make, options)
        for epoch in range(_EPOCHS):
            steps = adapter.run_epoch(epoch, _values(epoch))
            found = np.concatenate(steps)
            order = core.plan().order
            if found.tolist() != order.tolist():
                msg = f"epoch {epoch} must train on {order}, got {found} ({options})"
                raise ConformanceError(msg)
            core.observe(order, _values(epoch)[order])
            core.advance()


def same_scores(make: MakeAdapter) -> None:
    """Check that the recorded values make the scores of the core.

    Parameters
    ----------
    make : callable
        Makes an adapter.

    Raises
    ------
    ConformanceError
        The core's state at the end differs.
    """
    for options in _runs():
        adapter, core = _started(make, options)
        for epoch in range(_EPOCHS):
            adapter.run_epoch(epoch, _values(epoch))
            order = core.plan().order
            core.observe(order, _values(epoch)[order])
            core.advance()
        adapter.finish()
        _compare(core.state_dict(), adapter.core_state(), f"at the end ({options})")


def total_steps_are_the_steps_run(make: MakeAdapter) -> None:
    """Check that the steps announced at the start are those that were run.

    Parameters
    ----------
    make : callable
        Makes an adapter.

    Raises
    ------
    ConformanceError
        The two differ.
    """
    for options in _runs():
        adapter, _ = _started(make, options)
        announced = adapter.total_steps()
        run = sum(len(adapter.run_epoch(e, _values(e))) for e in range(_EPOCHS))
        if run != announced:
            msg = f"`total_steps` must be the steps run, {run}, got {announced}"
            raise ConformanceError(msg)


def the_loss_is_divided_by_the_keep_ratio(make: MakeAdapter) -> None:
    """Check that the mean loss is multiplied by 1 / r_t (Eq. 23), or by 1.

    Parameters
    ----------
    make : callable
        Makes an adapter.

    Raises
    ------
    ConformanceError
        The factor differs by more than float32 rounding.
    """
    for options in (*_runs(), {"prune_ratio": 0.7, "scale_loss": False}):
        adapter, core = _started(make, options)
        for epoch in range(_EPOCHS):
            adapter.run_epoch(epoch, _values(epoch))
            plan, found = core.plan(), adapter.loss_scale()
            if not math.isclose(found, plan.loss_scale, rel_tol=1e-5):
                msg = f"the loss must be scaled by {plan.loss_scale}, got {found}"
                raise ConformanceError(msg)
            core.observe(plan.order, _values(epoch)[plan.order])
            core.advance()


def resumed_equals_never_stopped(make: MakeAdapter) -> None:
    """Check that a run stopped in mid-epoch and resumed goes on bit for bit.

    Parameters
    ----------
    make : callable
        Makes an adapter.

    Raises
    ------
    ConformanceError
        The ids or the states differ.
    """
    for options in _runs():
        straight, _ = _started(make, options)
        stopped, _ = _started(make, options)
        for adapter in (straight, stopped):
            for epoch in range(2):
                adapter.run_epoch(epoch, _values(epoch))
            adapter.run_epoch(2, _values(2), steps=1)
        resumed, _ = _started(make, options)
        resumed.restore(stopped.save())
        for epoch in range(2, _EPOCHS):
            expected = [
                ids.tolist() for ids in straight.run_epoch(epoch, _values(epoch))
            ]
            found = [ids.tolist() for ids in resumed.run_epoch(epoch, _values(epoch))]
            if found != expected:
                msg = f"resumed epoch {epoch} must train on {expected}, got {found}"
                raise ConformanceError(msg)
        for adapter in (straight, resumed):
            adapter.finish()
        _compare(straight.core_state(), resumed.core_state(), "after a resume")


CHECKS: dict[str, Callable[[MakeAdapter], None]] = {
    check.__name__: check
    for check in (
        same_ids_in_the_same_order,
        same_scores,
        total_steps_are_the_steps_run,
        the_loss_is_divided_by_the_keep_ratio,
        resumed_equals_never_stopped,
    )
}
"""Every check by name; each takes a callable that makes an :class:`Adapter`."""


def _runs() -> Iterator[dict[str, Any]]:
    yield {"prune_ratio": 0.7, "seed": 1}
    yield {"schedule": RollerCoaster(0.5, anneal=0), "strategy": TopScore()}
    yield {"schedule": Cosine(0.7), "strategy": Random(), "multiple_of": _BATCH}


def _started(make: MakeAdapter, options: dict[str, Any]) -> tuple[Adapter, Pruner]:
    adapter = make()
    adapter.start(_N, batch_size=_BATCH, epochs=_EPOCHS, **options)
    return adapter, Pruner(_N, epochs=_EPOCHS, **options)


def _values(epoch: int) -> NDArray[np.float32]:
    """Return values with ties that float32 holds exactly."""
    return ((np.arange(_N) * (epoch + 3)) % 17 / 8).astype(np.float32)


def _compare(expected: State, found: State, where: str) -> None:
    for name, value in expected.items():
        if name == "stopped" or name.startswith("history."):
            continue
        if name not in found or not np.array_equal(
            found[name], value, equal_nan=name == "book.score"
        ):
            msg = f"{name!r} must be {value} {where}, got {found.get(name)}"
            raise ConformanceError(msg)
