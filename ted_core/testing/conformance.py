"""What every adapter must do: checks to parametrise a test over."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from ted_core.pruner import Pruner
from ted_core.schedules import Constant, Cosine, RollerCoaster
from ted_core.strategies import InfoBatch, Random, TopScore
from ted_core.testing.adapter import Adapter
from ted_core.typing import State

__all__ = [
    "BATCH",
    "CHECKS",
    "EPOCHS",
    "RUNS",
    "SAMPLES",
    "ConformanceError",
    "MakeAdapter",
    "Runs",
    "compare",
    "planned",
    "resumed_equals_never_stopped",
    "same_ids_in_the_same_order",
    "same_scores",
    "started",
    "the_loss_is_divided_by_the_keep_ratio",
    "the_weights_multiply_the_losses",
    "total_steps_are_the_steps_run",
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
            found[name], value, equal_nan=name == "scores.score"
        ):
            msg = f"{name!r} must be {value} {where}, got {found.get(name)}"
            raise ConformanceError(msg)


_RUNS: Runs = (
    {"strategy": InfoBatch(), "schedule": Constant(0.6), "seed": 2},
    {"strategy": InfoBatch(), "schedule": Constant(0.6, anneal=0), "seed": 3},
)


def the_weights_multiply_the_losses(
    make: MakeAdapter, runs: Runs | None = None
) -> None:
    """Check that each sample's loss is multiplied by its weight in the plan.

    In batches of one sample, the last of each epoch: what multiplies the mean loss of
    a batch is that sample's weight, and the plan's factor.

    Parameters
    ----------
    make : callable
        Makes an adapter.
    runs : sequence of dict, optional
        Options of the runs; two of InfoBatch by default. Those without weights in any
        epoch are passed over.

    Raises
    ------
    ConformanceError
        A factor differs by more than float32 rounding.
    """
    for options in _RUNS if runs is None else runs:
        expected = _last_factors(options)
        if expected is None:
            continue
        adapter, _ = started(make, options, batch_size=1)
        for epoch, factor in enumerate(expected):
            adapter.run_epoch(epoch, values_of(epoch))
            found = adapter.loss_scale()
            if not math.isclose(found, factor, rel_tol=1e-5):
                msg = (
                    f"the loss of the last sample of epoch {epoch} must be multiplied "
                    f"by {factor}, got {found} ({options})"
                )
                raise ConformanceError(msg)


def _last_factors(options: dict[str, Any]) -> list[float] | None:
    """Return what multiplies each epoch's last loss, or None without weights."""
    core, factors, weighted = planned(options), [], False
    while not core.finished:
        plan = core.plan()
        weight = 1.0 if plan.weights is None else float(plan.weights[-1])
        weighted |= plan.weights is not None
        factors.append(plan.loss_scale * weight)
        core.observe(plan.order, values_of(plan.epoch)[plan.order])
        core.advance()
    return factors if weighted else None


def same_ids_in_the_same_order(make: MakeAdapter, runs: Runs | None = None) -> None:
    """Check that every step trains on the ids that the core plans, in its order.

    Parameters
    ----------
    make : callable
        Makes an adapter.
    runs : sequence of dict, optional
        Options of the runs; a few of TED and of Random by default.

    Raises
    ------
    ConformanceError
        An epoch's ids or their order differ.
    """
    for options in RUNS if runs is None else runs:
        adapter, core = started(make, options)
        for epoch in range(EPOCHS):
            steps = adapter.run_epoch(epoch, values_of(epoch))
            found = np.concatenate(steps)
            order = core.plan().order
            if found.tolist() != order.tolist():
                msg = f"epoch {epoch} must train on {order}, got {found} ({options})"
                raise ConformanceError(msg)
            core.observe(order, values_of(epoch)[order])
            core.advance()


def same_scores(make: MakeAdapter, runs: Runs | None = None) -> None:
    """Check that the recorded values make the scores of the core.

    Parameters
    ----------
    make : callable
        Makes an adapter.
    runs : sequence of dict, optional
        Options of the runs; a few of TED and of Random by default.

    Raises
    ------
    ConformanceError
        The core's state at the end differs.
    """
    for options in RUNS if runs is None else runs:
        adapter, core = started(make, options)
        for epoch in range(EPOCHS):
            adapter.run_epoch(epoch, values_of(epoch))
            order = core.plan().order
            core.observe(order, values_of(epoch)[order])
            core.advance()
        adapter.finish()
        compare(core.state_dict(), adapter.core_state(), f"at the end ({options})")


def total_steps_are_the_steps_run(make: MakeAdapter, runs: Runs | None = None) -> None:
    """Check that the steps announced at the start are those that were run.

    A strategy whose counts depend on the scores announces none: ValueError.

    Parameters
    ----------
    make : callable
        Makes an adapter.
    runs : sequence of dict, optional
        Options of the runs; a few of TED and of Random by default.

    Raises
    ------
    ConformanceError
        The two differ.
    """
    for options in RUNS if runs is None else runs:
        adapter, core = started(make, options)
        if not core.config.strategy.known_count:
            _refuses_to_announce(adapter, options)
            continue
        announced = adapter.total_steps()
        run = sum(len(adapter.run_epoch(e, values_of(e))) for e in range(EPOCHS))
        if run != announced:
            msg = f"`total_steps` must be the steps run, {run}, got {announced}"
            raise ConformanceError(msg)


def the_loss_is_divided_by_the_keep_ratio(
    make: MakeAdapter, runs: Runs | None = None
) -> None:
    """Check that the mean loss is multiplied by 1 / r_t (Eq. 23), or by 1.

    Epochs whose plan has weights are not looked at: see
    :func:`the_weights_multiply_the_losses`.

    Parameters
    ----------
    make : callable
        Makes an adapter.
    runs : sequence of dict, optional
        Options of the runs; a few of TED and of Random by default.

    Raises
    ------
    ConformanceError
        The factor differs by more than float32 rounding.
    """
    for options in (*RUNS, _UNSCALED) if runs is None else runs:
        adapter, core = started(make, options)
        for epoch in range(EPOCHS):
            adapter.run_epoch(epoch, values_of(epoch))
            plan, found = core.plan(), adapter.loss_scale()
            if plan.weights is None and not math.isclose(
                found, plan.loss_scale, rel_tol=1e-5
            ):
                msg = f"the loss must be scaled by {plan.loss_scale}, got {found}"
                raise ConformanceError(msg)
            core.observe(plan.order, values_of(epoch)[plan.order])
            core.advance()


def resumed_equals_never_stopped(make: MakeAdapter, runs: Runs | None = None) -> None:
    """Check that a run stopped in mid-epoch and resumed goes on bit for bit.

    Parameters
    ----------
    make : callable
        Makes an adapter.
    runs : sequence of dict, optional
        Options of the runs; a few of TED and of Random by default.

    Raises
    ------
    ConformanceError
        The ids or the states differ.
    """
    for options in RUNS if runs is None else runs:
        straight, _ = started(make, options)
        stopped, _ = started(make, options)
        for adapter in (straight, stopped):
            for epoch in range(2):
                adapter.run_epoch(epoch, values_of(epoch))
            adapter.run_epoch(2, values_of(2), steps=1)
        resumed, _ = started(make, options)
        resumed.restore(stopped.save())
        for epoch in range(2, EPOCHS):
            expected = [
                ids.tolist() for ids in straight.run_epoch(epoch, values_of(epoch))
            ]
            found = [ids.tolist() for ids in resumed.run_epoch(epoch, values_of(epoch))]
            if found != expected:
                msg = f"resumed epoch {epoch} must train on {expected}, got {found}"
                raise ConformanceError(msg)
        for adapter in (straight, resumed):
            adapter.finish()
        compare(straight.core_state(), resumed.core_state(), "after a resume")


CHECKS: dict[str, Callable[..., None]] = {
    check.__name__: check
    for check in (
        same_ids_in_the_same_order,
        same_scores,
        total_steps_are_the_steps_run,
        the_loss_is_divided_by_the_keep_ratio,
        the_weights_multiply_the_losses,
        resumed_equals_never_stopped,
    )
}


"""Every check by name; each takes a callable that makes an :class:`Adapter`."""


_UNSCALED: dict[str, Any] = {"prune_ratio": 0.7, "scale_loss": False}


def _refuses_to_announce(adapter: Adapter, options: dict[str, Any]) -> None:
    try:
        announced = adapter.total_steps()
    except ValueError:
        return
    msg = f"`total_steps` must refuse a count unknown, got {announced} ({options})"
    raise ConformanceError(msg)
