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
from ted_keras._validation import own_train_step
from ted_keras.masks import Mask


class OwnLoss:
    """A model's own ``compute_loss``, as it is while no session overrides it.

    `overridden` tells whether it is another than Keras'.
    """

    def __init__(self, model: Any) -> None:
        self._function = model.compute_loss
        parameters = inspect.signature(self._function).parameters
        self._takes_training = "training" in parameters
        of_class = type(model).compute_loss is not keras.Model.compute_loss
        self.overridden = of_class or "compute_loss" in vars(model)

    def __call__(
        self,
        x: Any,
        y: Any,
        y_pred: Any,
        weights: Any,
        training: bool = True,  # noqa: FBT001, FBT002 - Keras' signature
    ) -> Any:
        """Return the total that the model trains on."""
        options = {"training": training} if self._takes_training else {}
        return self._function(x, y, y_pred, weights, **options)


def override(model: Any, recorder: Recorder, own: OwnLoss) -> Callable[[], None]:
    """Override ``compute_loss`` and ``compute_metrics``; return what undoes it.

    Keras documents both for subclasses to override. A batch that is none of a
    session's, of an evaluation say, goes to the model's own methods as it came.
    """
    names = ("compute_loss", "compute_metrics")
    before = {name: vars(model)[name] for name in names if name in vars(model)}
    compute_metrics = model.compute_metrics

    def loss(
        x: Any = None,
        y: Any = None,
        y_pred: Any = None,
        sample_weight: Any = None,
        training: bool = True,  # noqa: FBT001, FBT002 - Keras' signature
    ) -> Any:
        columns = read_columns(sample_weight)
        if columns is None:
            return own(x, y, y_pred, sample_weight, training)
        if training and recorder.recording:
            return recorder.step(own, x, y, y_pred, columns)
        weights = recorder.objective.broadcast_weights(y, y_pred, columns.weights)
        return own(x, y, y_pred, weights, training)

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
        self._own: OwnLoss | None = None
        self._undo: Callable[[], None] = lambda: None

    @property
    def is_open(self) -> bool:
        """Whether the model is overridden."""
        return self._recorder is not None

    @property
    def own_loss(self) -> OwnLoss:
        """The model's own loss, whether it is overridden or not."""
        return OwnLoss(self._model) if self._own is None else self._own

    @property
    def objective(self) -> Objective:
        """What is scored, as the model is compiled now."""
        overridden = self.own_loss.overridden
        return Objective(self._model, overridden=overridden, **self._scored)

    @property
    def mask(self) -> Mask | None:
        """The inner site, given or found in the model."""
        return find_mask(self._model) if self._mask is None else self._mask

    def open(self) -> None:
        """Override the model, if it is compiled and not overridden yet."""
        model, session = self._model, self._session
        if self.is_open or not model.compiled:
            return
        own, config = self.own_loss, session.pruner.config
        recorder = Recorder(model, self.objective, config, mask=self.mask)
        session.store, self._recorder = recorder.store, recorder
        session.silence = _silence(model, recorder.mask)
        self._undo, self._own = override(model, recorder, own), own
        if recorder.mask is not None:
            recorder.mask.record_to(recorder)

    def renew(self) -> None:
        """Look at the compiled loss again, and let the step be compiled anew."""
        if self._recorder is not None:
            self._recorder.recording = True
            self._recorder.objective = self.objective
            self._model.make_train_function(force=True)

    def close(self) -> None:
        """Give the model back as it was; what its steps wrote goes to the session."""
        recorder, self._recorder = self._recorder, None
        if recorder is None:
            return
        self._session.flush()
        self._session.store = None
        self._undo()
        self._own = None
        if recorder.mask is not None:
            recorder.mask.record_to(None)
        recorder.release_tensors()
        if self._model.compiled:
            self._model.make_train_function(force=True)


def _silence(model: Any, mask: Mask | None) -> str:
    """Say why the steps of a whole epoch may have written nothing."""
    if own_train_step(model):
        return (
            f"`train_step` of {type(model).__name__} must call `self.compute_loss(x, "
            "y, y_pred, sample_weight)` with the weights that its data came with"
        )
    if mask is not None:
        return (
            "a Mask where no gradient arrives, on the model's input say, records "
            "nothing: put it behind a trained layer"
        )
    return "`fit` must call the model's `compute_loss` with the data's sample weights"


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
