"""What a session looks at before its first step."""

from __future__ import annotations

import inspect
import random
import warnings
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from functools import cached_property
from importlib import import_module
from typing import Any

import keras
import numpy as np
from keras import backend, ops, tree

from ted_core import Pruner, TedWarning
from ted_core.config import single_sample_epochs
from ted_core.reports.preflight import Preflight
from ted_keras._objective import ACTIVATIONS, Objective
from ted_keras._overrides import Attachment, OwnLoss
from ted_keras._validation import own_train_step
from ted_keras.data import TEDData

# Schedules of Keras that end at a step, and the options whose sum it is.
_ENDS = {
    "CosineDecay": ("decay_steps", "warmup_steps"),
    "PolynomialDecay": ("decay_steps",),
}


class Check:
    """Facts and problems, gathered one question after the other.

    What makes the training wrong is raised at once.
    """

    def __init__(
        self, model: Any, pruner: Pruner, data: TEDData, attachment: Attachment
    ) -> None:
        self._model, self._pruner, self._data = model, pruner, data
        self._own, self._attachment = attachment.own_loss, attachment
        self._ids = pruner.plan().order[: data.batch_size].astype(np.int64)
        self.lines: list[str] = []
        self.problems: list[str] = []

    def refuse(self) -> None:
        """Refuse what makes the training wrong, and warn of a signal of another loss.

        The model makes a forward pass only where its loss is its own.
        """
        self._rows()
        self._compute_loss()
        self._warn()

    def report(self) -> Preflight:
        """Return all that there is to say."""
        self._rows()
        self._epochs()
        if self._model.compiled:
            self._learning_rate()
            self._train_step()
            self._compute_loss()
            self._site()
        else:
            self.problems.append("the model is not compiled; compile it, check again")
        self.lines.append(
            f"fit: give it `ted.data`, epochs={self._pruner.epochs} and callbacks=[ted]"
        )
        self._warn()
        return Preflight(tuple(self.lines), tuple(self.problems))

    def _warn(self) -> None:
        for problem in self.problems:
            warnings.warn(problem, TedWarning, stacklevel=4)

    @cached_property
    def _batch(self) -> _Batch:
        return _Batch(self._model, self._data.source(self._ids))

    def _rows(self) -> None:
        source = self._data.source
        if source.misplaced(self._ids):
            msg = (
                "`data(ids)` must give sample ids[j] as row j, got rows that are not "
                "reversed for the reversed ids; a function that sorts the ids, as HDF5 "
                "wants it, must undo that: `up = np.argsort(ids)`, then "
                "`file[ids[up]][np.argsort(up)]`"
            )
            raise ValueError(msg)
        self.lines.append(f"data: {source.n} samples, row j of a batch is ids[j]")

    def _epochs(self) -> None:
        """Hold every epoch's samples against the batch size."""
        pruner, size = self._pruner, self._data.batch_size
        steps = pruner.max_total_steps(size)
        if not pruner.config.known_count:
            self.lines.append(
                f"epochs: samples depend on scores, {steps} steps at most"
            )
            return
        kept = pruner.schedule_table()["kept"]
        self.lines.append(
            f"epochs: {kept.size}, of {kept.min()} to {kept.max()} samples, {steps} "
            f"steps of {size}"
        )
        first = pruner.epoch
        ones = single_sample_epochs(pruner.config, kept, size, first=first)
        if ones:
            shown = ", ".join(map(str, ones[:5])) + (", ..." if ones[5:] else "")
            self.problems.append(
                f"`batch_size` of {size} leaves a last batch of one sample in "
                f"{len(ones)} of {kept.size} epochs ({shown}), of which a batch norm "
                f"gets no variance: give `multiple_of={size}`"
            )

    def _learning_rate(self) -> None:
        optimizer = self._model.optimizer
        optimizer = getattr(optimizer, "inner_optimizer", optimizer)
        config = {} if optimizer is None else optimizer.get_config()
        schedule = config.get("learning_rate")
        if not isinstance(schedule, dict) or schedule["class_name"] not in _ENDS:
            self.lines.append("learning rate: no schedule with an end of its own")
            return
        kind, options = schedule["class_name"], schedule["config"]
        end = sum(options.get(name) or 0 for name in _ENDS[kind])
        steps = self._pruner.max_total_steps(self._data.batch_size)
        if end == steps:
            self.lines.append(f"learning rate: {kind} ends with the run at {end}")
            return
        warmup = end - options["decay_steps"]
        less = f" - {warmup}, after as many of warm-up" if warmup else ""
        self.problems.append(
            f"the learning rate's {kind} must end with the run after {steps} steps, "
            f"got {end}; give decay_steps=ted.total_steps{less}"
        )

    def _train_step(self) -> None:
        if own_train_step(self._model):
            self.lines.append(
                f"train_step: of {type(self._model).__name__}, which must call "
                "`self.compute_loss(x, y, y_pred, sample_weight)` once"
            )

    def _compute_loss(self) -> None:
        """Ask a `compute_loss` of the model's own whether it heeds the weights."""
        if not self._own.overridden:
            return
        config, source = self._pruner.config, self._data.source
        name = f"`compute_loss` of {type(self._model).__name__}"
        if config.signal == "loss":
            self.problems.append(
                f"signal='loss' ranks by the loss compiled, got a model that trains on "
                f"{name}: give another signal if that is not meant"
            )
        weighs = config.divides_loss or getattr(config.strategy, "weighs_losses", True)
        if not weighs and source(self._ids)[2] is None:
            self.lines.append(f"compute_loss: {name}, whose losses nothing weighs")
            return
        try:
            ignores = self._batch.ignores_weights(self._own)
        except Exception as error:
            if not own_train_step(self._model):
                raise
            self.problems.append(
                f"{name} must multiply each sample's loss with `sample_weight`, got no "
                f"answer outside of its `train_step`: {error}"
            )
            return
        if ignores:
            msg = (
                f"{name} must multiply each sample's loss with `sample_weight`, got "
                "the same total for weights of 1 and of 2; without it neither 1 / r_t "
                "nor weights of the samples arrive: return the mean of losses * "
                "sample_weight"
            )
            raise ValueError(msg)
        self.lines.append(f"compute_loss: {name}, which heeds `sample_weight`")

    def _site(self) -> None:
        """Say where the value is taken."""
        signal = self._pruner.config.signal
        mask, objective = self._attachment.mask, self._attachment.objective
        if signal != "mask_gradient":
            self.lines.append(f"signal: {signal} of the scored output")
            return
        if mask is not None:
            self.lines.append(f"mask: at the layer {mask.name}")
            return
        kind = self._batch.activation(objective)
        layer = objective.layer_activation()
        if kind != "linear":
            self.lines.append(f"mask: at the output, before its {kind}")
        elif layer in ACTIVATIONS:
            self.lines.append("mask: at the output")
        else:
            self.problems.append(
                f"the mask stands at the output after its {layer}, for softmax and "
                "sigmoid alone are undone; for the tensor before it put a `Mask()` "
                "between the last layer and a layer of that activation"
            )


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
