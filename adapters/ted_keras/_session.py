"""The schedule of a run, and what its open epoch has recorded."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from ted_core import EpochError, Pruner, TedWarning
from ted_core.checkpoint import array_field, current_state, plain_field
from ted_core.history import EpochAccounts
from ted_core.typing import Counts
from ted_keras._step import VALID, Recorder
from ted_keras.data import TEDData

_SEEN, _ORDER = "ted_keras.seen", "ted_keras.order"


class Session:
    """Bring pruner, data and recorder together, one epoch after the other.

    `recorder` is what the steps of an overridden model write to. `make_pruner` makes
    the pruner of a number of epochs; `probed` says that Keras reads the data once
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
        self.recorder: Recorder | None = None
        # Workers would read on behind the batch that Keras looks at.
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
        if self.recorder is None or self.pruner.finished:
            return
        table = self.recorder.store.take()
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

    def release(self) -> None:
        """Take what the steps have written, and let go of their recorder."""
        self.flush()
        if self.recorder is not None:
            self.recorder.release()
            self.recorder = None
        self.rest()

    def rest(self) -> None:
        """Show the data of the open epoch while no fit runs."""
        if not self.pruner.finished:
            self._hand_out()
        if self._one_batch_at_rest:
            self.data.length[...] = 1  # so that Keras reads no further

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
                f"epoch {epoch}; {getattr(self.recorder, 'silence', '')}"
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

    def load_state_dict(
        self, state: Mapping[str, Any], *, allow: Sequence[str] = ()
    ) -> None:
        """Take over a saved state; on an error nothing has changed."""
        state = self._of_earlier_version(current_state(state))
        if "epochs" in allow:
            state = self._closed(state)
        self.pruner.load_state_dict(state, allow=allow)
        if self.recorder is not None:
            self.recorder.store.take()
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
        # Without counts there were only samples of weight 0 so far.
        found = {"open.counts": none, "open.sums": none.astype("<f4"), **state}
        counts = array_field(found, "open.counts", none)
        found["open.checksum"] = plain_field(found, _ORDER, int)
        found["open.deliveries"] = seen
        found["open.weightless"] = seen - np.minimum(counts, seen)
        found["open.observed"] = int(seen.sum(dtype=np.int64))
        return {k: v for k, v in found.items() if k not in {_SEEN, _ORDER}}


def _deliveries(pruner: Pruner) -> Counts:
    """Return how often the open epoch delivered each sample, shape (n,); no copy."""
    return pruner._table.deliveries  # noqa: SLF001 - our own core
