"""What a session looks at before its first step."""

from __future__ import annotations

import inspect
import random
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from importlib import import_module
from typing import Any

import keras
import numpy as np
from keras import backend, ops, tree

from ted_core import Pruner
from ted_core.reports.preflight import Finding, Preflight, count_findings
from ted_keras._objective import Objective
from ted_keras._overrides import Attachment, OwnLoss
from ted_keras._validation import own_train_step
from ted_keras.data import TEDData

# Schedules of Keras that end at a step, and the options whose sum it is.
_ENDS = {
    "CosineDecay": ("decay_steps", "warmup_steps"),
    "PolynomialDecay": ("decay_steps",),
}


class Look:
    """Look at one batch of the open epoch, and at what a fit will do with it."""

    def __init__(
        self, model: Any, pruner: Pruner, data: TEDData, attachment: Attachment
    ) -> None:
        self._model, self._pruner, self._data = model, pruner, data
        self._own, self._attachment = attachment.own_loss, attachment
        self._ids = pruner.plan().order[: data.batch_size].astype(np.int64)

    def failures(self) -> Preflight:
        """Return what can fail; a forward pass only where the loss is the model's own."""
        return Preflight((self._rows(), self._compute_loss(None)))

    def findings(self) -> Preflight:
        """Return all that there is to say."""
        found = [self._rows(), *self._counts()]
        if self._model.compiled:
            batch = _Batch(self._model, self._data.source(self._ids))
            found += [self._learning_rate(), self._train_step()]
            found += [self._compute_loss(batch), self._site(batch)]
        else:
            text = "the model is not compiled; compile it and check again"
            found.append(Finding("compile", "warn", text))
        text = f"give it `ted.data`, epochs={self._pruner.epochs} and callbacks=[ted]"
        return Preflight((*found, Finding("fit", "ok", text)))

    def _rows(self) -> Finding:
        source = self._data.source
        if source.misplaced(self._ids):
            text = (
                "`data(ids)` must give sample ids[j] as row j, got rows that are not "
                "reversed for the reversed ids; a function that sorts, as HDF5 wants "
                "it, must undo it: `up = np.argsort(ids)`, then "
                "`file[ids[up]][np.argsort(up)]`"
            )
            return Finding("rows", "fail", text)
        return Finding("rows", "ok", f"row j is sample ids[j], of {source.n} samples")

    def _counts(self) -> list[Finding]:
        config, batch_size = self._pruner.config, self._data.batch_size
        if config.known_count:
            return count_findings(config.kept_counts.tolist(), batch_size)
        most = self._pruner.max_total_steps(batch_size)
        text = f"depend on the scores, {most} steps at most"
        return [Finding("kept counts", "ok", text)]

    def _learning_rate(self) -> Finding:
        optimizer = self._model.optimizer
        optimizer = getattr(optimizer, "inner_optimizer", optimizer)
        config = {} if optimizer is None else optimizer.get_config()
        schedule = config.get("learning_rate")
        if not isinstance(schedule, dict) or schedule["class_name"] not in _ENDS:
            text = "of the optimizer, without an end of its own"
            return Finding("learning rate", "ok", text)
        kind, options = schedule["class_name"], schedule["config"]
        end = sum(options.get(name) or 0 for name in _ENDS[kind])
        steps = self._pruner.max_total_steps(self._data.batch_size)
        if end == steps:
            return Finding("learning rate", "ok", f"{kind} ends with the run at {end}")
        text = (
            f"{kind} must end with the run, after {steps} steps, got {end}; give "
            f"{'less its `warmup_steps` ' if end != options['decay_steps'] else ''}"
            "decay_steps=ted.total_steps"
        )
        return Finding("learning rate", "warn", text)

    def _train_step(self) -> Finding:
        if not own_train_step(self._model):
            return Finding("train_step", "ok", "Keras' own")
        text = (
            f"of {type(self._model).__name__}, which must call `self.compute_loss(x, y,"
            " y_pred, sample_weight)` once a step"
        )
        return Finding("train_step", "ok", text)

    def _compute_loss(self, batch: _Batch | None) -> Finding:
        """Ask a `compute_loss` of the model's own whether it heeds the weights."""
        name = f"`compute_loss` of {type(self._model).__name__}"
        config = self._pruner.config
        if not self._own.overridden:
            return Finding("compute_loss", "ok", "Keras' own, of the losses compiled")
        weights = self._data.source(self._ids)[2] if batch is None else batch.weights
        weighs = config.divides_loss or not config.strategy.known_count
        if not weighs and weights is None:
            text = f"{name}; nothing weighs the losses"
            return Finding("compute_loss", "ok", text)
        if batch is None:
            batch = _Batch(self._model, self._data.source(self._ids))
        try:
            ignores = batch.ignores_weights(self._own)
        except Exception as error:
            if not own_train_step(self._model):
                raise
            text = f"{name} could not be called without its `train_step`: {error}"
            return Finding("compute_loss", "warn", text)
        if ignores:
            text = (
                f"{name} must multiply each sample's loss with `sample_weight`, got "
                "the same total for weights of 1 and of 2; without it neither 1 / r_t "
                "nor weights of the samples arrive: average losses * sample_weight "
                "over the batch"
            )
            return Finding("compute_loss", "fail", text)
        if config.signal == "loss":
            text = f"{name} is trained on, signal='loss' ranks by the loss compiled"
            return Finding("compute_loss", "warn", text)
        return Finding("compute_loss", "ok", f"{name} heeds `sample_weight`")

    def _site(self, batch: _Batch) -> Finding:
        """Say where the value is taken."""
        signal = self._pruner.config.signal
        mask, objective = self._attachment.mask, self._attachment.objective
        if signal != "mask_gradient":
            return Finding("signal", "ok", f"{signal} of the scored output")
        if mask is not None:
            return Finding("mask", "ok", f"at the layer {mask.name}")
        kind = batch.activation(objective)
        layer = objective.layer_activation()
        if kind != "linear":
            return Finding("mask", "ok", f"at the output before its {kind}")
        if layer in {"linear", "softmax", "sigmoid"}:
            return Finding("mask", "ok", "at the output")
        text = (
            f"at the output after its {layer}: TED undoes softmax and sigmoid alone; "
            "for the tensor before it, make it a layer of its own behind a Mask()"
        )
        return Finding("mask", "warn", text)


class _Batch:
    """One batch, and what the model makes of it, with no trace in model or seeds."""

    def __init__(self, model: Any, batch: tuple[Any, Any, Any]) -> None:
        x, y, self.weights = batch
        self._x, self._y = tree.map_structure(ops.convert_to_tensor, (x, y))
        self._model = model
        takes_training = "training" in inspect.signature(model.call).parameters
        self._options = {"training": False} if takes_training else {}
        if not model.built:
            model(self._x, **self._options)  # as the first step would

    def ignores_weights(self, own: OwnLoss) -> bool:
        """Tell whether a total other than 0 is the same for all weights."""
        size = len(tree.flatten(self._x)[0])
        with keras.StatelessScope(), _random_numbers_kept():
            y_pred = self._model(self._x, **self._options)
            totals = {
                float(ops.convert_to_numpy(own(self._x, self._y, y_pred, weights)))
                for weights in (ops.full((size,), 2.0**k) for k in (0, 1, 20))
            }
        return len(totals) == 1 and totals != {0.0}

    def activation(self, objective: Objective) -> str:
        """Return what made the scored output."""
        with keras.StatelessScope(), _random_numbers_kept():
            y_pred = self._model(self._x, **self._options)
            return objective.activation(self._y, objective.pick(y_pred))


@contextmanager
def _random_numbers_kept() -> Iterator[None]:
    """Give the random numbers of the process back as they were; Keras' own are."""
    python, numbers = random.getstate(), np.random.get_state()  # noqa: NPY002
    kept: Any = nullcontext()
    if backend.backend() == "torch":
        kept = import_module("torch").random.fork_rng()
    try:
        with kept:
            yield
    finally:
        random.setstate(python)
        np.random.set_state(numbers)  # noqa: NPY002
