"""The check that a strategy's weights reach the loss."""

from __future__ import annotations

import math
from typing import Any

from ted_core.schedules import Constant
from ted_core.strategies import InfoBatch
from ted_core.testing._runs import (
    ConformanceError,
    MakeAdapter,
    Runs,
    planned,
    started,
    values_of,
)

__all__ = ["the_weights_multiply_the_losses"]

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
