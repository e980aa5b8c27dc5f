"""The two methods of a model that a session overrides while it trains."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import Any

import keras

from ted_keras._batch_columns import read_columns
from ted_keras._objective import Objective
from ted_keras._session import Session
from ted_keras._step import Recorder
from ted_keras.masks import Mask


def override(model: Any, recorder: Recorder) -> Callable[[], None]:
    """Override ``compute_loss`` and ``compute_metrics``; return what undoes it.

    Keras documents both for subclasses to override. A batch that is none of a
    session's, of an evaluation say, goes to the model's own methods as it came.
    """
    names = ("compute_loss", "compute_metrics")
    before = {name: vars(model)[name] for name in names if name in vars(model)}
    compute_loss, compute_metrics = model.compute_loss, model.compute_metrics
    takes_training = "training" in inspect.signature(compute_loss).parameters

    def loss(
        x: Any = None,
        y: Any = None,
        y_pred: Any = None,
        sample_weight: Any = None,
        training: bool = True,  # noqa: FBT001, FBT002 - Keras' signature
    ) -> Any:
        options = {"training": training} if takes_training else {}

        def total(x: Any, y: Any, y_pred: Any, weights: Any) -> Any:
            return compute_loss(x, y, y_pred, weights, **options)

        columns = read_columns(sample_weight)
        if columns is None:
            return total(x, y, y_pred, sample_weight)
        if training and recorder.recording:
            return recorder.step(total, x, y, y_pred, columns)
        weights = recorder.objective.broadcast_weights(y, y_pred, columns.weights)
        return total(x, y, y_pred, weights)

    def metrics(x: Any, y: Any, y_pred: Any, sample_weight: Any = None) -> Any:
        columns = read_columns(sample_weight)
        if columns is not None:
            given = columns.user_weights
            sample_weight = recorder.objective.broadcast_weights(y, y_pred, given)
        return compute_metrics(x, y, y_pred, sample_weight=sample_weight)

    def undo() -> None:
        for name in names:
            delattr(model, name)
            if name in before:
                setattr(model, name, before[name])

    model.compute_loss, model.compute_metrics = loss, metrics
    return undo


class Attachment:
    """Put the overrides on a model for the time of a fit."""

    def __init__(
        self, model: Any, session: Session, *, mask: Mask | None, **scored: Any
    ) -> None:
        self._model, self._session, self._mask = model, session, mask
        self._scored = scored
        self._recorder: Recorder | None = None
        self._undo: Callable[[], None] = lambda: None

    @property
    def is_open(self) -> bool:
        """Whether the model is overridden."""
        return self._recorder is not None

    def open(self) -> None:
        """Override the model, if it is compiled and not overridden yet."""
        model, session = self._model, self._session
        if self.is_open or not model.compiled:
            return
        recorder = Recorder(
            model,
            Objective(model, **self._scored),
            session.pruner.config,
            mask=find_mask(model) if self._mask is None else self._mask,
        )
        session.store, self._recorder = recorder.store, recorder
        self._undo = override(model, recorder)
        if recorder.mask is not None:
            recorder.mask.record_to(recorder)

    def renew(self) -> None:
        """Look at the compiled loss again, and let the step be compiled anew."""
        if self._recorder is not None:
            self._recorder.recording = True
            self._recorder.objective = Objective(self._model, **self._scored)
            self._model.make_train_function(force=True)

    def close(self) -> None:
        """Give the model back as it was; what its steps wrote goes to the session."""
        recorder, self._recorder = self._recorder, None
        if recorder is None:
            return
        self._session.flush()
        self._session.store = None
        self._undo()
        if recorder.mask is not None:
            recorder.mask.record_to(None)
        recorder.release_tensors()
        if self._model.compiled:
            self._model.make_train_function(force=True)


def find_mask(model: Any) -> Mask | None:
    """Return the one mask layer in a model's layers, and in theirs, or None."""
    found = list({id(one): one for one in _masks(model)}.values())
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
