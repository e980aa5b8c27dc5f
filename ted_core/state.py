"""The flat state of a pruner: written, and read back with every field checked."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ted_core.checkpoint import (
    FORMAT,
    VERSION,
    array_field,
    check_header,
    check_scores,
    plain_field,
)
from ted_core.config import RunConfig
from ted_core.errors import CheckpointError
from ted_core.history import HISTORY
from ted_core.plan import EpochPlan, make_plan, whole_plan
from ted_core.scores import EpochBuffer, ScoreBook
from ted_core.typing import State, id_dtype

__all__ = ["Parts", "read_state", "write_state"]


@dataclass(frozen=True)
class Parts:
    """What a state holds beside the configuration."""

    book: ScoreBook
    history: dict[str, list[int]]
    epoch: int
    stopped: bool
    plan: EpochPlan | None = None

    def copy_into(self, book: ScoreBook) -> None:
        """Overwrite the scores of `book`, and take over the open epoch."""
        buffer = self.book.open() if self.book.pending else None
        book.restore(self.book.arrays(), buffer=buffer)


def write_state(config: RunConfig, parts: Parts) -> State:
    """Return the flat state; its plan is the open epoch's, if it is made."""
    book, plan = parts.book, parts.plan
    state: State = {"format": FORMAT, "version": VERSION, **config.describe()}
    state |= {"epoch": parts.epoch, "stopped": parts.stopped}
    for name in HISTORY:
        state[f"history.{name}"] = _little(np.array(parts.history[name], np.int64))
    for name, array in book.arrays().items():
        state[f"book.{name}"] = _little(array)
    state["pending"] = book.pending
    if plan is not None and config.shard is not None:
        # The other ranks have a part in it: it can't be made again when it is loaded.
        state["plan.order"] = _little(plan.order)
        state["plan.kept_by_rank"] = np.array(plan.kept_by_rank, "<i8")
        if plan.weights is not None:
            state["plan.weights"] = _little(plan.weights)
    if plan is not None and book.pending:
        buffer = book.open()
        state["pending.checksum"] = plan.checksum
        state["pending.sums"] = _little(buffer.sums)
        state["pending.counts"] = _little(buffer.counts)
    return state


def read_state(
    state: Mapping[str, Any],
    config: RunConfig,
    like: ScoreBook,
    *,
    allow: Sequence[str] = (),
) -> Parts:
    """Check a state against a configuration and book; the parts are not copied."""
    for name in allow:
        if name != "epochs":
            msg = f"`allow` must hold only 'epochs', got {name!r}"
            raise ValueError(msg)
    check_header(state)
    for name, here in config.describe().items():
        saved = plain_field(state, name, type(here))
        if saved != here and name not in allow:
            msg = f"`{name}` must equal the saved one, saved {saved!r}, here {here!r}"
            raise CheckpointError(msg)
    epoch = plain_field(state, "epoch", int)
    if not 0 <= epoch <= config.epochs:
        msg = f"`epoch` must be in [0, {config.epochs}], saved {epoch}"
        raise CheckpointError(msg)
    history = {}
    for name in HISTORY:
        row = array_field(state, f"history.{name}", np.empty(epoch, np.int64))
        if np.any(row < 0):
            msg = f"`history.{name}` must be at least 0, saved {int(row.min())}"
            raise CheckpointError(msg)
        history[name] = row.tolist()
    book = like.over(
        {
            name: array_field(state, f"book.{name}", array)
            for name, array in like.arrays().items()
        }
    )
    stopped = plain_field(state, "stopped", bool)
    pending = plain_field(state, "pending", int)
    if pending:
        _fill(book.open(), state, pending)
    check_scores(book)
    plan = _read_plan(state, config, epoch) if "plan.order" in state else None
    _check_names(state, book, config, pending=bool(pending), plan=plan)
    loaded = Parts(book, history, epoch, stopped, plan)
    if pending:
        _check_open_epoch(state, config, loaded)
    return loaded


def _fill(buffer: EpochBuffer, state: Mapping[str, Any], pending: int) -> None:
    buffer.sums[...] = array_field(state, "pending.sums", buffer.sums)
    buffer.counts[...] = array_field(state, "pending.counts", buffer.counts)
    counted = int(buffer.counts.sum(dtype=np.int64))
    if pending < 0 or counted != pending:
        msg = f"`pending` must equal the sum of its counts, saved {pending}, {counted}"
        raise CheckpointError(msg)
    buffer.observed = pending


def _check_open_epoch(
    state: Mapping[str, Any], config: RunConfig, loaded: Parts
) -> None:
    pending, epoch = loaded.book.pending, loaded.epoch
    if epoch >= config.epochs or loaded.stopped:
        msg = f"`pending` must be 0 after the last epoch, saved {pending}"
        raise CheckpointError(msg)
    if state["epochs"] != config.epochs:
        msg = (
            f"`epochs` may change between two epochs only, saved {state['epochs']} "
            f"with {pending} observations of epoch {epoch}, here {config.epochs}"
        )
        raise CheckpointError(msg)
    saved = plain_field(state, "pending.checksum", int)
    if config.shard is not None and loaded.plan is None:
        msg = "`state` must have 'plan.order' of its open epoch, got none"
        raise CheckpointError(msg)
    here = (loaded.plan or make_plan(config, loaded.book, epoch)).checksum
    if saved != here:
        msg = (
            f"`state` must have the order of this epoch, saved checksum {saved}, here "
            f"{here}; resume with the NumPy that saved it, or from an epoch's end"
        )
        raise CheckpointError(msg)


def _check_names(
    state: Mapping[str, Any],
    book: ScoreBook,
    config: RunConfig,
    *,
    pending: bool,
    plan: EpochPlan | None,
) -> None:
    known = {"format", "version", "epoch", "stopped", "pending"}
    known |= {f"history.{name}" for name in HISTORY}
    known |= {f"book.{name}" for name in book.arrays()}
    known |= config.describe().keys()
    if plan is not None:
        known |= {"plan.order", "plan.kept_by_rank", "plan.weights"}
    if pending:
        known |= {"pending.checksum", "pending.sums", "pending.counts"}
    unknown = sorted(str(name) for name in state if name not in known)
    if unknown:
        msg = f"`state` must hold known fields only, got {', '.join(unknown)}"
        raise CheckpointError(msg)


def _read_plan(state: Mapping[str, Any], config: RunConfig, epoch: int) -> EpochPlan:
    """Return the saved plan of a shard's open epoch, checked."""
    if config.shard is None or epoch >= config.epochs:
        msg = "`plan.order` must be that of a shard's open epoch, got another state's"
        raise CheckpointError(msg)
    ranks = len(config.shard.sizes)
    kept = array_field(state, "plan.kept_by_rank", np.empty(ranks, np.int64))
    size = int(kept[config.shard.rank])
    if np.any((kept < 0) | (kept > config.shard.sizes)) or not kept.any():
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
