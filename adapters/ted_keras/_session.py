"""The schedule of a run, and what its open epoch has recorded."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from ted_core import CheckpointError, EpochError, Pruner
from ted_core.checkpoint import array_field, current_state, plain_field
from ted_core.history import EpochAccounts
from ted_core.typing import Counts, State
from ted_keras._step import VALID
from ted_keras.data import TEDData

_SEEN, _ORDER = "ted_keras.seen", "ted_keras.order"


class Session:
    """Bring pruner, data and store together, one epoch after the other.

    `store` is where the steps write, None while no model is attached; `seen` (n,) how
    often a step of the open epoch has met each sample. `probed` says that Keras reads
    the data once before it trains.
    """

    def __init__(self, pruner: Pruner, data: TEDData, *, probed: bool = False) -> None:
        self.pruner, self.data = pruner, data
        self.store: Any = None
        self.seen = np.zeros(pruner.n, np.uint8)
        # Workers would read on after the batch that is probed.
        self._one_batch_at_rest = probed and not data.keeps_order
        self.rest()

    @property
    def accounts(self) -> EpochAccounts:
        """Which samples of the open epoch the steps have met."""
        return EpochAccounts(self.pruner.plan().order, self.seen)

    @property
    def complete(self) -> bool:
        """Whether the steps have met every sample of the open epoch."""
        self.flush()
        return not self.pruner.finished and not self.accounts.missing

    @property
    def epoch(self) -> int:
        """Where a fit goes on: the open epoch, or the next if it is complete."""
        return self.pruner.epoch + self.complete

    def flush(self) -> None:
        """Bring what the steps have written to the pruner; waits for the device."""
        if self.store is None or self.pruner.finished:
            return
        table = self.store.read()
        self.store.clear()
        code = table[:, 1].astype(np.int64)
        self.seen += (code % VALID).astype(np.uint8)
        counts = np.minimum(code // VALID, np.iinfo(np.uint8).max)
        self.pruner.observe_sums(table[:, 0], counts)

    def begin(self, epoch: int) -> None:
        """Open an epoch, or go on with one; repeated calls are harmless."""
        here, expected = self.pruner.epoch, self.epoch
        if self.pruner.finished or epoch != expected:
            rule = f"must be {expected}"
            if self.pruner.finished:
                rule = f"must be below {here}, where the run has finished"
            msg = (
                f"`epoch` {rule}, got {epoch}; resume with "
                "`model.fit(..., initial_epoch=ted.epoch)`, and with the model's "
                "weights of that epoch; a new run needs a new TED"
            )
            raise EpochError(msg)
        if expected > here:
            self.close()
        self._hand_out()

    def rest(self) -> None:
        """Show the data of the open epoch while no fit runs."""
        if not self.pruner.finished:
            self._hand_out()
        if self._one_batch_at_rest:
            self.data.show_one_batch()

    def _hand_out(self) -> None:
        """Give the rest of the open epoch to the data."""
        plan = self.pruner.plan()
        left = self.seen[plan.order] == 0
        if not left.any():
            left[:] = True  # shown at rest only: a fit begins with the next epoch
        scale = np.full(len(plan), plan.loss_scale, np.float32)
        if plan.weights is not None:
            scale *= plan.weights
        self.data.begin(plan.order[left], scale[left])

    def close(self) -> None:
        """Close the open epoch: its values become scores."""
        self.flush()
        accounts, epoch = self.accounts, self.pruner.epoch
        if not accounts.delivered:
            msg = (
                f"an epoch must record its {accounts.planned} samples, got none in "
                f"epoch {epoch}; a Mask where no gradient arrives, on the "
                "model's input say, records nothing: put it behind a trained layer"
            )
            raise EpochError(msg)
        if not accounts.exact:
            msg = (
                f"an epoch must train on each of its {accounts.planned} samples once, "
                f"got {accounts.delivered} of them, {accounts.repeated_ids.size} more "
                f"than once, in epoch {epoch}; leave cutting and repeating of epochs "
                "to TED"
            )
            raise EpochError(msg)
        self.pruner.advance()
        self.seen[...] = 0

    def state_dict(self) -> State:
        """Return the pruner's state, and which samples an open epoch has met."""
        self.flush()
        state = self.pruner.state_dict()
        if self.seen.any():
            state[_SEEN] = self.seen.copy()
            state[_ORDER] = self.pruner.plan().checksum
        return state

    def load_state_dict(
        self, state: Mapping[str, Any], *, allow: Sequence[str] = ()
    ) -> None:
        """Take over a saved state; on an error nothing has changed."""
        state = current_state(state)
        observed = state.get("open.observed")
        has_values = isinstance(observed, int) and observed > 0
        is_open = has_values or _SEEN in state or _ORDER in state
        seen = self._saved_seen(state) if is_open else np.zeros_like(self.seen)
        core = {k: v for k, v in state.items() if k not in {_SEEN, _ORDER}}
        before = self.pruner.state_dict()
        self.pruner.load_state_dict(core, allow=allow)
        here = 0 if self.pruner.finished else self.pruner.plan().checksum
        if is_open and state[_ORDER] != here:
            self.pruner.load_state_dict(before)
            msg = f"`{_ORDER}` must be {here}, saved {state[_ORDER]!r}"
            raise CheckpointError(msg)
        self.seen = seen
        if self.store is not None:
            self.store.clear()
        self.rest()

    def _saved_seen(self, state: Mapping[str, Any]) -> Counts:
        """Return which samples an open epoch had met."""
        seen: Counts = array_field(state, _SEEN, self.seen)
        plain_field(state, _ORDER, int)
        if not seen.any():
            msg = f"`{_SEEN}` must not be 0 everywhere in an open epoch, saved zeros"
            raise CheckpointError(msg)
        return seen.copy()
