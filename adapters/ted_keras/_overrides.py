"""What a session finds in a model and, while it trains, overrides."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import keras

from ted_keras._batch_columns import read_columns
from ted_keras._step import Recorder
from ted_keras.masks import Mask


def override(model: Any, recorder: Recorder) -> Callable[[], None]:
    """Override ``compute_loss`` and ``compute_metrics``; return what undoes it.

    Keras documents both for subclasses to override. A batch that is none of a
    session's, of an evaluation say, goes to the model's own methods as it came.
    """
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
