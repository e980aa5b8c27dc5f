"""What a session looks at before its first step."""

from __future__ import annotations

import inspect
import random
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import cached_property
from typing import Any

import keras
import numpy as np
from keras import ops, tree
from keras.optimizers import schedules

from ted_core.config import rounding_warning, single_sample_warning
from ted_core.errors import warn_caller
from ted_core.reports import Preflight
from ted_keras._backends import adapt
from ted_keras._objective import ACTIVATIONS
from ted_keras._session import Session
from ted_keras._step import check_classes
from ted_keras._validation import own_train_step
from ted_keras.data import Parts


class Check:
    """Facts and problems, gathered one question after the other, without a trace."""

    def __init__(self, session: Session) -> None:
        self._session, self._objective = session, session.objective
        self._model, self._data = session.model, session.data
        self._pruner = session.pruner
        order = self._pruner.plan().order
        self._ids = order[: self._data.batch_size].astype(np.int64)
        self.lines: list[str] = []
        self.problems: list[str] = []

    def raise_errors(self) -> None:
        """Refuse what makes the training wrong, and warn of what may be meant."""
        with _random_numbers_kept():
            self._rows()
            self._compute_loss()
        self._warn(fit=True)

    def warn_of_rate(self) -> None:
        """Warn of a rate that does not end with the run, when that is known."""
        self._learning_rate()
        self._warn(fit=True)

    def report(self) -> Preflight:
        """Return all that there is to say."""
        with _random_numbers_kept():
            self._rows()
            self._epochs()
            if self._model.compiled:
                self._learning_rate()
                self._compute_loss()
                self._outputs()
                self._site()
            else:
                self.problems.append(
                    "the model is not compiled; compile it, check again"
                )
        self.lines.append(
            f"fit: give it `ted.data`, epochs={self._pruner.epochs} and callbacks=[ted]"
        )
        self._warn()
        return Preflight(tuple(self.lines), tuple(self.problems))

    def _warn(self, *, fit: bool = False) -> None:
        """Warn of each problem, in `fit` of those that no check has told."""
        for problem in self.problems:
            if not (fit and problem in self._session.told):
                warn_caller(problem)
        self._session.told.update(self.problems)

    @cached_property
    def _batch(self) -> Parts:
        return self._data.source(self._ids)

    @cached_property
    def _passed(self) -> tuple[Any, Any, Any]:
        """Inputs, targets and outputs of the batch."""
        x, y = tree.map_structure(ops.convert_to_tensor, self._batch[:2])
        takes_training = "training" in inspect.signature(self._model.call).parameters
        options = {"training": False} if takes_training else {}
        if not self._model.built:
            self._model(x, **options)  # as the first step would
        with keras.StatelessScope():
            return x, y, self._model(x, **options)

    def _rows(self) -> None:
        source = self._data.source
        if source.misplaced(self._ids, self._batch):
            msg = (
                "`data(ids)` must give sample ids[j] as row j, got rows that are not "
                "reversed for the reversed ids; a function that sorts the ids, as HDF5 "
                "wants it, must undo that: `up = np.argsort(ids)`, then "
                "`file[ids[up]][np.argsort(up)]`; one that shuffles must not: TED "
                "shuffles"
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
        single = single_sample_warning(
            pruner.config,
            kept,
            size,
            first=pruner.epoch,
            then="of which a batch norm gets no variance: give `multiple_of={}`",
        )
        self.problems += filter(None, (rounding_warning(pruner.config), single))

    def _learning_rate(self) -> None:
        optimizer = self._model.optimizer
        optimizer = getattr(optimizer, "inner_optimizer", optimizer)
        # The attribute is Keras' own; one's own schedule may have no `get_config`.
        schedule = getattr(optimizer, "_learning_rate", None)
        if not isinstance(schedule, schedules.LearningRateSchedule):
            self.lines.append("learning rate: no schedule")
            return
        steps = self._pruner.max_total_steps(self._data.batch_size)
        kind = type(schedule).__name__
        problem = _schedule_problem(schedule, steps)
        if problem is not None:
            self.problems.append(f"the learning rate's {kind} must {problem}")
            return
        last = float(ops.convert_to_numpy(schedule(ops.convert_to_tensor(steps - 1))))
        self.lines.append(
            f"learning rate: {kind}, {last:.3g} in the last of {steps} steps"
        )

    def _compute_loss(self) -> None:
        """Ask a `compute_loss` of the model's own whether it heeds the weights."""
        config, model = self._pruner.config, type(self._model).__name__
        own_step = own_train_step(self._model)
        if own_step:
            self.lines.append(
                f"train_step: of {model}, which must call "
                "`self.compute_loss(x, y, y_pred, sample_weight)` once"
            )
        if not self._objective.overridden:
            return
        name = f"`compute_loss` of {model}"
        if config.signal == "loss":
            self.problems.append(
                f"signal='loss' ranks by the loss compiled, got a model that trains on "
                f"{name}: give another signal if that is not meant"
            )
        weighs = config.divides_loss or getattr(config.strategy, "weighs_losses", True)
        if not weighs and self._batch[2] is None:
            self.lines.append(f"compute_loss: {name}, whose losses nothing weighs")
            return
        rule = f"{name} must multiply each sample's loss with `sample_weight`, got"
        try:
            totals = self._totals()
        except Exception as error:
            if not own_step:
                raise
            self.problems.append(
                f"{rule} no answer outside of its `train_step`: {error}"
            )
            return
        if len(totals) == 1 and totals != {0.0}:
            msg = (
                f"{rule} the same total for weights of 1 and of 2; without it neither "
                "1 / r_t nor weights of the samples arrive: return the mean of losses "
                "* sample_weight"
            )
            raise ValueError(msg)
        self.lines.append(f"compute_loss: {name}, which heeds `sample_weight`")

    def _totals(self) -> set[float]:
        """Return the model's own total at weights of 1, of 2 and of 2**20."""
        given, passed = self._batch[2], self._passed
        given = np.ones(self._ids.size, np.float32) if given is None else given

        def total(weight: float) -> Any:
            weights = tree.map_structure(lambda w: ops.full(w.shape, weight), given)
            return self._objective.total(*passed, weights)

        with keras.StatelessScope():
            found = [total(2.0**k) for k in (0, 1, 20)]
        return {float(ops.convert_to_numpy(total)) for total in found}

    def _outputs(self) -> None:
        """Hold the outputs of the batch against the loss and the signal."""
        _, y, y_pred = self._passed
        objective, given = self._objective, self._batch[2]
        _ = objective.reduction  # refuses what a step would
        scale = ops.ones(self._ids.size)
        if given is not None:
            given = tree.map_structure(ops.convert_to_tensor, given)
        objective.weigh(y, y_pred, scale, given)
        outputs, masked = objective.pick(y_pred), self._session.mask is not None
        kind = objective.activation(y, outputs)
        check_classes(self._pruner.config, outputs, kind, masked=masked)
        if problem := objective.mismatch(y, outputs):
            self.problems.append(problem)

    def _site(self) -> None:
        """Say where the value is taken."""
        signal, objective = self._pruner.config.signal, self._objective
        if signal != "mask_gradient":
            self.lines.append(f"signal: {signal} of the scored output")
            return
        mask = self._session.mask
        if mask is not None:
            self.lines.append(f"mask: at the layer {mask.name}")
            return
        _, y, y_pred = self._passed
        kind = objective.activation(y, objective.pick(y_pred))
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


@contextmanager
def _random_numbers_kept() -> Iterator[None]:
    """Give the random numbers of the process and the backend back as they were."""
    python, numbers = random.getstate(), np.random.get_state()  # noqa: NPY002
    try:
        with adapt().random_numbers_kept():
            yield
    finally:
        random.setstate(python)
        np.random.set_state(numbers)  # noqa: NPY002


def _schedule_problem(schedule: Any, steps: int) -> str | None:
    """Return what a schedule must do in a run of so many steps and doesn't, or None."""
    kind = type(schedule)  # a subclass may go on as it likes
    if kind in _ENDS:
        end, remedy = _ENDS[kind](schedule, steps)
        if end is None or end == steps:
            return None
        return f"end with the run after {steps} steps, got {end}; give {remedy}"
    if kind in _CHANGES:
        word, at = _CHANGES[kind](schedule)
        if at > steps:
            return (
                f"change for the {word} time within the run's {steps} steps, got {at}; "
                "give shares of ted.total_steps"
            )
    return None


def _decay(schedule: Any, steps: int) -> tuple[int | None, str]:
    del steps
    remedy = "decay_steps=ted.total_steps"
    if getattr(schedule, "cycle", False):
        return None, remedy
    # Without a target there is no warm-up.
    warmed = getattr(schedule, "warmup_target", None) is not None
    warmup = schedule.warmup_steps if warmed else 0
    if warmup:
        remedy += f" - {warmup}, after as many of warm-up"
    return schedule.decay_steps + warmup, remedy


def _restarts(schedule: Any, steps: int) -> tuple[int, str]:
    """Return the end of the cycle in which the run ends."""
    factor = schedule.get_config()["t_mul"]
    end = length = schedule.first_decay_steps
    while end < steps and length >= 1:
        length *= factor
        end += length
    return round(end), "cycles that end with ted.total_steps"


_ENDS: dict[type, Callable[[Any, int], tuple[int | None, str]]] = {
    schedules.CosineDecay: _decay,
    schedules.PolynomialDecay: _decay,
    schedules.CosineDecayRestarts: _restarts,
}
# Their `decay_steps` are no end, but a run of fewer is not meant.
_CHANGES: dict[type, Callable[[Any], tuple[str, int]]] = {
    schedules.ExponentialDecay: lambda one: ("first", one.decay_steps),
    schedules.InverseTimeDecay: lambda one: ("first", one.decay_steps),
    schedules.PiecewiseConstantDecay: lambda one: ("last", max(one.boundaries)),
}
