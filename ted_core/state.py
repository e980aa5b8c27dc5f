"""The flat state of a pruner: written, and read back with every field checked."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ted_core.buffer import EpochBuffer
from ted_core.config import RunConfig
from ted_core.errors import CheckpointError
from ted_core.planner import make_plan
from ted_core.report import HISTORY
from ted_core.scores import ScoreBook
from ted_core.state_fields import (
    FORMAT,
    VERSION,
    array_field,
    check_header,
    check_scores,
    plain_field,
)
from ted_core.typing import State

__all__ = ["Loaded", "read_state", "write_state"]


@dataclass(frozen=True)
class Loaded:
    """A state that has passed its checks."""

    book: ScoreBook
    history: dict[str, list[int]]
    epoch: int
    stopped: bool

    def copy_into(self, book: ScoreBook) -> None:
        """Overwrite the scores of `book`, and take over the open epoch."""
        buffer = self.book.open() if self.book.pending else None
        book.restore(self.book.arrays(), buffer=buffer)


def write_state(
    config: RunConfig,
    book: ScoreBook,
    history: Mapping[str, Sequence[int]],
    *,
    epoch: int,
    stopped: bool,
    checksum: int | None,
) -> State:
    """Return the flat state; `checksum` is None between epochs."""
    state: State = {"format": FORMAT, "version": VERSION, **config.describe()}
    state |= {"epoch": epoch, "stopped": stopped}
    for name in HISTORY:
        state[f"history.{name}"] = _little(np.array(history[name], np.int64))
    for name, array in book.arrays().items():
        state[f"book.{name}"] = _little(array)
    state["pending"] = book.pending
    if checksum is not None:
        buffer = book.open()
        state["pending.checksum"] = checksum
        state["pending.sums"] = _little(buffer.sums)
        state["pending.counts"] = _little(buffer.counts)
    return state


def read_state(
    state: Mapping[str, Any],
    config: RunConfig,
    like: ScoreBook,
    *,
    allow: Sequence[str] = (),
) -> Loaded:
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
        row = np.empty(epoch, np.int64)
        history[name] = array_field(state, f"history.{name}", row).tolist()
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
    _check_names(state, book, pending=bool(pending))
    loaded = Loaded(book, history, epoch, stopped)
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
    state: Mapping[str, Any], config: RunConfig, loaded: Loaded
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
    here = make_plan(config, loaded.book, epoch).checksum
    if saved != here:
        msg = (
            f"`state` must have the order of this epoch, saved checksum {saved}, here "
            f"{here}; resume with the NumPy that saved it, or from an epoch's end"
        )
        raise CheckpointError(msg)


def _check_names(state: Mapping[str, Any], book: ScoreBook, *, pending: bool) -> None:
    known = {"format", "version", "epoch", "stopped", "pending"}
    known |= {f"history.{name}" for name in HISTORY}
    known |= {f"book.{name}" for name in book.arrays()}
    known |= {"n", "epochs", "schedule", "strategy", "signal", "reduction", "seed"}
    known |= {"multiple_of", "scale_loss", "labels"}
    if pending:
        known |= {"pending.checksum", "pending.sums", "pending.counts"}
    unknown = sorted(str(name) for name in state if name not in known)
    if unknown:
        msg = f"`state` must hold known fields only, got {', '.join(unknown)}"
        raise CheckpointError(msg)


def _little(array: NDArray[Any]) -> NDArray[Any]:
    return array.astype(array.dtype.newbyteorder("<"), copy=True)
