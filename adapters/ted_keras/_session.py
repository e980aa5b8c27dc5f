"""The schedule of a run, and what its open epoch has recorded."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from ted_core import CheckpointError, EpochError, Pruner, TedWarning
from ted_core.checkpoint import array_field, current_state, plain_field
from ted_core.history import EpochAccounts
from ted_core.typing import Counts, State
from ted_keras._step import VALID
from ted_keras.data import TEDData

_SEEN, _ORDER = "ted_keras.seen", "ted_keras.order"


class Session:
    """Bring pruner, data and store together, one epoch after the other.

    `store` is where the steps write, None while no model is attached; `silence` what
    may be wrong if they write nothing. `make_pruner` makes the pruner of a number of
    epochs; `probed` says that Keras reads the data once
    before it trains.
    """

    def __init__(
        self,
        make_pruner: Callable[..., Pruner],
        data: TEDData,
        *,
        epochs: int,
        probed: bool = False,
    ) -> None:
        self.pruner, self.data = make_pruner(epochs=epochs), data
        self._make_pruner = make_pruner
        self.store: Any = None
        self.silence = ""
        # Workers would read on after the batch that is probed.
        self._one_batch_at_rest = probed and not data.keeps_order
        self.rest()

    @property
    def seen(self) -> Counts:
        """How often a step of the open epoch has met each sample, shape (n,)."""
        return _deliveries(self.pruner)

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
        counts, deliveries = np.divmod(table[:, 1].astype(np.int64), VALID)
        self.pruner.observe_sums(
            table[:, 0],
            counts,
            deliveries=deliveries,
            weightless=deliveries - counts,
        )

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
                "weights of that epoch; a new run needs a new TED, more epochs a TED "
                "that loads this state with `allow=('epochs',)`"
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
                f"epoch {epoch}; {self.silence}"
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

    def state_dict(self) -> State:
        """Return the pruner's state, an open epoch's included."""
        self.flush()
        return self.pruner.state_dict()

    def load_state_dict(
        self, state: Mapping[str, Any], *, allow: Sequence[str] = ()
    ) -> None:
        """Take over a saved state; on an error nothing has changed."""
        state = self._of_earlier_version(current_state(state))
        if "epochs" in allow:
            state = self._closed(state)
        self.pruner.load_state_dict(state, allow=allow)
        if self.store is not None:
            self.store.clear()
        self.rest()

    def _closed(self, state: Mapping[str, Any]) -> Mapping[str, Any]:
        """Return a state whose epoch is closed, if the steps had met all of it.

        It was saved by a callback that stands before the session's.
        """
        epochs = plain_field(state, "epochs", int)
        if epochs == self.pruner.epochs or not plain_field(state, "open.observed", int):
            return state
        with warnings.catch_warnings(action="ignore", category=TedWarning):
            former = self._make_pruner(epochs=epochs)
        former.load_state_dict(state)
        if EpochAccounts(former.plan().order, _deliveries(former)).missing:
            return state
        former.advance()
        return former.state_dict()

    def _of_earlier_version(self, state: Mapping[str, Any]) -> Mapping[str, Any]:
        """Return a state whose count of steps, once Keras' own, is the pruner's."""
        if _SEEN not in state and _ORDER not in state:
            return state
        none = np.zeros(self.pruner.n, np.uint8)
        seen: Counts = array_field(state, _SEEN, none)
        order = plain_field(state, _ORDER, int)
        if not seen.any():
            msg = f"`{_SEEN}` must not be 0 everywhere in an open epoch, saved zeros"
            raise CheckpointError(msg)
        core = {k: v for k, v in state.items() if k not in {_SEEN, _ORDER}}
        if "open.counts" not in core:  # only samples of weight 0 so far
            core |= {"open.counts": none, "open.sums": none.astype("<f4")}
            core["open.checksum"] = order
        counts = array_field(core, "open.counts", none)
        if plain_field(core, "open.checksum", int) != order:
            msg = f"`{_ORDER}` must be {core['open.checksum']}, saved {order}"
            raise CheckpointError(msg)
        core["open.deliveries"] = seen
        core["open.weightless"] = seen - np.minimum(counts, seen)
        core["open.observed"] = int(seen.sum(dtype=np.int64))
        return core


def _deliveries(pruner: Pruner) -> Counts:
    """Return how often the open epoch delivered each sample, shape (n,); no copy."""
    return pruner._table.deliveries  # noqa: SLF001 - our own core
