"""The flat state of a run: written, and read back with every field checked."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ted_core._scores import ScoreTable
from ted_core._validation import MAX_EPOCHS
from ted_core.checkpoint import (
    FORMAT,
    ROLES,
    VERSION,
    array_field,
    check_known,
    check_option,
    check_saveable,
    current_state,
    plain_field,
    register_kind,
)
from ted_core.config import RunConfig
from ted_core.errors import CheckpointError
from ted_core.history import Rows, counts_of
from ted_core.plan import EpochPlan, make_plan, whole_plan
from ted_core.reductions import Count, Last, Mean, MeanAndVariance, Polyak
from ted_core.schedules import (
    Constant,
    Cosine,
    Linear,
    RollerCoaster,
    keep_ratios,
)
from ted_core.strategies import (
    UCB,
    EpsilonGreedy,
    Importance,
    InfoBatch,
    Random,
    SoftTop,
    Static,
    TopScore,
)
from ted_core.typing import State, id_dtype

for _kind in (
    *(Constant, Cosine, Linear, RollerCoaster),
    *(UCB, EpsilonGreedy, Importance, InfoBatch),
    *(Random, SoftTop, Static, TopScore),
    *(Count, Last, Mean, MeanAndVariance, Polyak),
):
    register_kind(_kind)


_LATER = ("forwarded", "weightless")  # counts that version 1 does not have
_OPEN = ("sums", "counts", "deliveries", "weightless")


@dataclass(frozen=True)
class Progress:
    """How far a run is: what a state holds beside its configuration."""

    table: ScoreTable
    history: Rows
    epoch: int
    stopped: bool
    plan: EpochPlan | None


def write_state(config: RunConfig, run: Progress) -> State:
    """Return the flat state of a run."""
    for role in ROLES:
        check_saveable(role, getattr(config, role))
    table, plan = run.table, run.plan
    state: State = {"format": FORMAT, "version": VERSION, **config.describe()}
    state |= {"epoch": run.epoch, "stopped": run.stopped}
    for name in counts_of(config):
        state[f"history.{name}"] = np.array(run.history[name], "<i8")
    state["history.keep_ratio"] = np.array(run.history["keep_ratio"], "<f8")
    for name, array in table.arrays().items():
        state[f"scores.{name}"] = _little(array)
    state["open.observed"] = table.observed
    if plan is not None and not config.layout.shares_order:
        # All processes make it together: one that loads it can't make it again.
        state["plan.order"] = _little(plan.order)
        state["plan.kept_by_rank"] = np.array(plan.kept_by_rank, "<i8")
        if plan.weights is not None:
            state["plan.weights"] = _little(plan.weights)
    if plan is not None and table.observed:
        state["open.checksum"] = plan.checksum
        for name in _OPEN:
            state[f"open.{name}"] = _little(getattr(table.buffer, name))
    return state


def read_state(
    state: Mapping[str, Any],
    config: RunConfig,
    like: ScoreTable,
    *,
    allow: Sequence[str] = (),
) -> Progress:
    """Check a state against a configuration and a table; its arrays are not copied."""
    for name in allow:
        if name != "epochs":
            msg = f"`allow` must hold only 'epochs', got {name!r}"
            raise ValueError(msg)
    state = {"lengths": -1, **current_state(state)}  # older states know of none
    options = _options(state, config)
    for name, here in options.items():
        if name in allow:
            plain_field(state, name, type(here))
        else:
            check_option(state, name, here)
    epoch, epochs = plain_field(state, "epoch", int), state["epochs"]
    if not 0 <= epoch <= epochs <= MAX_EPOCHS:
        msg = f"`epoch` must be in [0, {epochs}], saved {epoch}"
        raise CheckpointError(msg)
    if epoch > config.epochs:
        msg = f"`epochs` must be at least the {epoch} that ran, got {config.epochs}"
        raise CheckpointError(msg)
    history = _read_history(state, config, epoch)
    stopped = plain_field(state, "stopped", bool) and "epochs" not in allow
    table = like.of_state(state)
    observed = table.observed
    plan = _read_plan(state, config, epoch) if "plan.order" in state else None
    known = {"format", "version", "epoch", "stopped", "open.observed", *options}
    known |= {f"history.{name}" for name in (*counts_of(config), "keep_ratio")}
    known |= {f"scores.{name}" for name in table.arrays()}
    if plan is not None:
        known |= {"plan.order", "plan.kept_by_rank", "plan.weights"}
    if observed:
        known |= {"open.checksum", *(f"open.{name}" for name in _OPEN)}
    check_known(state, known)
    run = Progress(table, history, epoch, stopped, plan)
    if observed:
        _check_open_epoch(state, config, run)
    return run


def _read_history(state: Mapping[str, Any], config: RunConfig, epochs: int) -> Rows:
    rows: Rows = {}
    n = config.n
    for name in counts_of(config):
        if name in _LATER and f"history.{name}" not in state:
            continue
        row = array_field(state, f"history.{name}", np.empty(epochs, np.int64))
        if np.any(row < 0):
            msg = f"`history.{name}` must be at least 0, saved {int(row.min())}"
            raise CheckpointError(msg)
        rows[name] = row.tolist()
    limits = [("planned", [n], f"{n}"), ("missing", rows["planned"], "those planned")]
    if config.lengths is not None:
        total = config.tokens
        limits.append(("planned_tokens", [total], f"{total}"))
        limits.append(("forwarded_tokens", rows["planned_tokens"], "those planned"))
    for name, limit, most in limits:
        if np.any(np.array(rows[name]) > limit):
            msg = f"`history.{name}` must be at most {most}, saved {rows[name]}"
            raise CheckpointError(msg)
    delivered = np.array(rows["planned"], np.int64) - rows["missing"]
    rows.setdefault("forwarded", delivered.tolist())
    rows.setdefault("weightless", [0] * epochs)
    planned_ratios = keep_ratios(config.schedule, max(state["epochs"], 1))[:epochs]
    ratios = {"history.keep_ratio": planned_ratios, **state}
    ran = array_field(ratios, "history.keep_ratio", np.empty(epochs, np.float64))
    if not np.all((ran > 0) & (ran <= 1)):
        msg = f"`history.keep_ratio` must be in (0, 1], saved {ran.min()}"
        raise CheckpointError(msg)
    return rows | {"keep_ratio": ran.tolist()}


def _options(state: Mapping[str, Any], config: RunConfig) -> State:
    """Return this run's options as the state holds them."""
    options = config.describe()
    for role in ROLES:
        thing = getattr(config, role)
        if role not in state:
            check_saveable(role, thing)
        else:
            # Version 1 held a repr, and this one is of a class that was not known.
            own = [name for name in options if name.partition(".")[0] == role]
            options = {k: v for k, v in options.items() if k not in own}
            options[role] = repr(thing)
    return options


def _check_open_epoch(
    state: Mapping[str, Any], config: RunConfig, run: Progress
) -> None:
    """Refuse an open epoch that this run can't go on with."""
    observed, epoch = run.table.observed, run.epoch
    if epoch >= config.epochs or run.stopped:
        msg = f"`open.observed` must be 0 after the last epoch, saved {observed}"
        raise CheckpointError(msg)
    if state["epochs"] != config.epochs:
        msg = (
            f"`epochs` may change between two epochs only, saved {state['epochs']} "
            f"with {observed} observations of epoch {epoch}, here {config.epochs}; "
            f"load it into a run of {state['epochs']}, close the epoch, save it again"
        )
        raise CheckpointError(msg)
    saved = plain_field(state, "open.checksum", int)
    if run.plan is None and not config.layout.shares_order:
        msg = "`state` must have 'plan.order' of its open epoch, got none"
        raise CheckpointError(msg)
    here = (run.plan or make_plan(config, run.table, epoch)).checksum
    if saved != here:
        msg = (
            f"`state` must have the order of this epoch, saved checksum {saved}, here "
            f"{here}; resume with the NumPy that saved it, or from an epoch's end"
        )
        raise CheckpointError(msg)


def _read_plan(state: Mapping[str, Any], config: RunConfig, epoch: int) -> EpochPlan:
    """Return the saved plan of a shard's open epoch, checked."""
    layout = config.layout
    if layout.shares_order or epoch >= config.epochs:
        msg = "`plan.order` must be that of a shard's open epoch, got another state's"
        raise CheckpointError(msg)
    like = np.empty(len(layout.sizes), np.int64)
    kept = array_field(state, "plan.kept_by_rank", like)
    size = int(kept[layout.rank])
    if np.any((kept < 0) | (kept > layout.sizes)) or not kept.any():
        msg = f"`plan.kept_by_rank` must fit the shards, saved {kept.tolist()}"
        raise CheckpointError(msg)
    order = array_field(state, "plan.order", np.empty(size, id_dtype(config.n)))
    times = np.bincount(order.clip(0), minlength=config.n)
    if np.any(order < 0) or times.size > config.n or times.max() > 1:
        msg = f"`plan.order` must hold distinct ids in [0, {config.n}), saved others"
        raise CheckpointError(msg)
    weights = None
    if "plan.weights" in state:
        weights = array_field(state, "plan.weights", np.empty(size, np.float32)).copy()
    return whole_plan(config, epoch, order.copy(), weights, tuple(kept.tolist()))


def _little(array: NDArray[Any]) -> NDArray[Any]:
    return array.astype(array.dtype.newbyteorder("<"), copy=True)
