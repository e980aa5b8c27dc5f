"""A run on a model: its schedule, its overrides, and what its steps have recorded."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import keras
import numpy as np
from numpy.typing import NDArray

from ted_core import CheckpointError, EpochError, Pruner, TedWarning
from ted_core.checkpoint import array_field, current_state, plain_field
from ted_core.history import EpochAccounts
from ted_core.typing import Counts, State
from ted_keras._batch_columns import read_columns
from ted_keras._objective import Objective
from ted_keras._step import WEIGHTLESS, Recorder
from ted_keras._validation import probes_data
from ted_keras.data import TEDData
from ted_keras.masks import Mask

_SEEN, _ORDER, _MIXED = "ted_keras.seen", "ted_keras.order", "ted_keras.mixed"
_MAX_TIMES = 255


class Session:
    """A run on a model: pruner, data and, while a fit runs, the steps' recorder."""

    def __init__(
        self,
        model: Any,
        data: TEDData,
        make_pruner: Callable[..., Pruner],
        *,
        epochs: int,
        mask: Mask | None = None,
        **scored: Any,
    ) -> None:
        self.model, self.data, self._make_pruner = model, data, make_pruner
        self.pruner = make_pruner(epochs=epochs)
        self._mask, self._scored = mask, scored
        self.told: set[str] = set()  # problems that a check has warned of
        self.recorder: Recorder | None = None
        # Of mixed batches, the open epoch's sums of values and of their weights.
        self._mixed: NDArray[np.float32] | None = None
        self._undo: Callable[[], None] = lambda: None
        # Workers would read on behind the batch that Keras looks at.
        self._one_batch_at_rest = probes_data(model) and not data.keeps_order
        data.session = self

    @property
    def objective(self) -> Objective:
        """What is scored, whether the model is overridden or not."""
        if self.recorder is not None:
            return self.recorder.objective
        return Objective(self.model, **self._scored)

    @property
    def mask(self) -> Mask | None:
        """The inner site, given or found in the model."""
        return find_mask(self.model) if self._mask is None else self._mask

    def attach(self) -> None:
        """Override the model, if it is compiled and not overridden yet."""
        if self.recorder is None and self.model.compiled:
            found = self.objective, self.pruner.config
            self.recorder = Recorder(self.model, *found, mask=self.mask)
            self._undo = override(self.model, self.recorder)
            self._put_mixed()

    def start(self) -> None:
        """Let the steps record, and be compiled anew."""
        if self.recorder is not None:
            self.recorder.start()
            self.model.make_train_function(force=True)

    def detach(self) -> None:
        """Give the model back as it was, and the data to readers outside of a fit."""
        if self.recorder is not None:
            self._undo()
            if self.model.compiled:
                self.model.make_train_function(force=True)
            self.flush()
            self.recorder.release()
            self.recorder = None
        self.data.stale = True

    @property
    def seen(self) -> Counts:
        """How often a step of the open epoch has met each sample, shape (n,)."""
        return self.pruner._table.deliveries  # noqa: SLF001 - our own core

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
        sums, codes, counts = self.recorder.store.take().T
        weightless, deliveries = np.divmod(codes.astype(np.int64), WEIGHTLESS)
        if self.recorder.mixes or self._mixed is not None:
            # Their weights are no counts: they wait for the epoch's end as they are,
            # and the steps go on from them.
            mixed = np.stack([sums, counts], axis=1)
            self._mixed = mixed if mixed.any() else None
            self._put_mixed()
            sums = counts = np.zeros_like(sums)
        self.pruner.observe_sums(
            sums, counts.astype(np.uint8), deliveries=deliveries, weightless=weightless
        )

    def _put_mixed(self) -> None:
        """Let the steps go on from the open epoch's mixed values."""
        if self.recorder is not None and self._mixed is not None:
            sums, weights = self._mixed.T
            table = np.stack([sums, np.zeros_like(sums), weights], axis=1)
            self.recorder.store.put(table)

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
        self.data.planned = True

    def show(self) -> None:
        """Show the data of the open epoch while no fit runs."""
        self.data.stale = False
        if self.pruner.finished:
            # A fit that has nothing to train looks at a batch, too.
            first = np.arange(min(self.pruner.n, self.data.batch_size))
            self.data.begin(first, np.ones(first.size, np.float32))
        else:
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
                f"than once, in epoch {epoch}; do not shorten or "
                "repeat its epochs"
            )
            raise EpochError(msg)
        if self._mixed is not None:
            _give(self.pruner, self._mixed)
            self._mixed = None
            if self.recorder is not None:
                self.recorder.store.take()
        self.pruner.advance()

    def state_dict(self) -> State:
        """Return the whole state, an open epoch's included."""
        self.flush()
        state = self.pruner.state_dict()
        if self._mixed is not None:
            state[_MIXED] = self._mixed.astype("<f4")
        return state

    def load_state_dict(
        self, state: Mapping[str, Any], *, allow: Sequence[str] = ()
    ) -> None:
        """Take over a saved state; on an error nothing has changed."""
        state = dict(self._of_earlier_version(current_state(state)))
        mixed = None
        if _MIXED in state:
            mixed = array_field(state, _MIXED, np.empty((self.pruner.n, 2), np.float32))
            weights = mixed[:, 1]
            if not ((weights >= 0) & (weights < np.inf)).all():
                msg = f"the weights of `{_MIXED}` must be finite and at least 0, saved "
                raise CheckpointError(msg + "others")
            del state[_MIXED]
        if "epochs" in allow:
            state = self._closed(state, mixed)
        self.pruner.load_state_dict(state, allow=allow)
        if self.recorder is not None:
            self.recorder.store.take()
        self._mixed = mixed if self.pruner._table.observed else None  # noqa: SLF001
        self._put_mixed()
        self.data.stale = True

    def raise_idle_epoch(self) -> None:
        """Refuse an epoch that no callback has begun."""
        self.detach()
        msg = (
            "`ted.data` must be read by `model.fit(ted.data, callbacks=[ted])`, got an "
            "epoch that no callback has begun; add `callbacks=[ted]`, or evaluate on "
            "data of your own"
        )
        raise EpochError(msg)

    def _closed(
        self, state: dict[str, Any], mixed: NDArray[np.float32] | None
    ) -> dict[str, Any]:
        """Return a state whose epoch is closed, if the steps had met all of it."""
        # It was saved by a callback that stands before the session's.
        epochs = plain_field(state, "epochs", int)
        if epochs == self.pruner.epochs or not plain_field(state, "open.observed", int):
            return state
        with warnings.catch_warnings(action="ignore", category=TedWarning):
            former = self._make_pruner(epochs=epochs)
        former.load_state_dict(state)
        delivered = former._table.deliveries  # noqa: SLF001
        if EpochAccounts(former.plan().order, delivered).missing:
            return state
        if mixed is not None:
            _give(former, mixed)
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


def _give(pruner: Pruner, mixed: NDArray[np.float32]) -> None:
    """Give a pruner an epoch's mixed values: a mean each, by weight."""
    sums, weights = mixed.T
    # A partner comes any number of times, so that its count is no more than a weight.
    counts = np.minimum(np.ceil(weights), _MAX_TIMES)
    sums = np.divide(sums, weights, out=sums.copy(), where=weights > 0) * counts
    pruner.observe_sums(
        sums, counts.astype(np.uint8), deliveries=np.zeros(len(sums), np.uint8)
    )


def override(model: Any, recorder: Recorder) -> Callable[[], None]:
    """Override ``compute_loss`` and ``compute_metrics``; return what undoes it."""
    # A batch of an evaluation has no columns: it goes to the model's own methods.
    names = ("compute_loss", "compute_metrics")
    before = {name: vars(model)[name] for name in names if name in vars(model)}
    objective, compute_metrics = recorder.objective, model.compute_metrics

    def loss(
        x: Any = None,
        y: Any = None,
        y_pred: Any = None,
        sample_weight: Any = None,
        training: bool = True,  # noqa: FBT001, FBT002 - Keras' signature
    ) -> Any:
        columns = read_columns(sample_weight)
        if columns is None:
            return objective.total(x, y, y_pred, sample_weight, training)
        if training and recorder.recording:
            return recorder.step(x, y, y_pred, columns)
        weights = objective.weigh(y, y_pred, columns.scale, columns.given)
        return objective.total(x, y, y_pred, weights, training)

    def metrics(x: Any, y: Any, y_pred: Any, sample_weight: Any = None) -> Any:
        columns = read_columns(sample_weight)
        if columns is not None:
            sample_weight = objective.weigh(y, y_pred, None, columns.given)
        return compute_metrics(x, y, y_pred, sample_weight=sample_weight)

    def undo() -> None:
        for name in names:
            delattr(model, name)
            if name in before:
                setattr(model, name, before[name])

    model.compute_loss, model.compute_metrics = loss, metrics
    return undo


def find_mask(model: Any) -> Mask | None:
    """Return the one mask layer in a model's layers, and in theirs, or None."""
    found = list(dict.fromkeys(_masks(model)))
    if len(found) > 1:
        names = ", ".join(layer.name for layer in found)
        msg = f"`model` must have at most one Mask, got {names}"
        raise ValueError(msg)
    return found[0] if found else None


def _masks(layer: Any) -> list[Mask]:
    if isinstance(layer, Mask):
        return [layer]
    inner = list(getattr(layer, "layers", ()))
    wrapped = getattr(layer, "layer", None)
    if isinstance(wrapped, keras.layers.Layer):
        inner.append(wrapped)
    return [mask for one in inner for mask in _masks(one)]
