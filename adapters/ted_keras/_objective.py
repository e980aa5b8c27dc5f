"""Which output of a model is scored, with which loss, made by what."""

from __future__ import annotations

import inspect
from collections.abc import Sequence
from typing import Any

import keras
from keras import ops, tree

from ted_keras import _losses

ACTIVATIONS = ("auto", "linear", "softmax", "sigmoid")
"""What may have made an output."""


class Objective:
    """One output of a compiled model, its loss and its activation.

    It is made while no session overrides the model's ``compute_loss``; `overridden`
    says whether that is another than Keras'.
    """

    def __init__(
        self, model: Any, *, output: str | None = None, activation: str = "auto"
    ) -> None:
        self._model, self._output, self._activation = model, output, activation
        self._compute_loss = model.compute_loss
        parameters = inspect.signature(model.compute_loss).parameters
        self._takes_training = "training" in parameters
        of_class = type(model).compute_loss is not keras.Model.compute_loss
        self.overridden = of_class or "compute_loss" in vars(model)

    def total(
        self,
        x: Any,
        y: Any,
        y_pred: Any,
        weights: Any,
        training: bool = True,  # noqa: FBT001, FBT002 - Keras' signature
    ) -> Any:
        """Return the loss that the model itself trains on."""
        options = {"training": training} if self._takes_training else {}
        return self._compute_loss(x, y, y_pred, weights, **options)

    @property
    def reduction(self) -> str:
        """How Keras reduces the losses over the batch: "mean" or "sum"."""
        losses = [] if self.overridden else tree.flatten(self._model.loss)
        kinds = {_losses.reduction_of(loss) for loss in losses if loss is not None}
        if len(kinds) > 1:
            msg = "`reduction` must be the same for all losses, got 'sum' and a mean"
            raise ValueError(msg)
        return kinds.pop() if kinds else "mean"

    def pick(self, values: Any) -> Any:
        """Return the scored output's part of outputs, targets or losses."""
        return self._pick(values, self._output)

    def _pick(self, values: Any, output: str | None) -> Any:
        names = self._names(values)
        if names is None:
            return values
        if output is None and len(names) == 1:
            output = names[0]
        if output not in names:
            msg = f"`output` must be one of {', '.join(names)}, got {output!r}"
            raise ValueError(msg)
        return values[output if isinstance(values, dict) else names.index(output)]

    def _names(self, values: Any) -> list[str] | None:
        """Return the output that each part belongs to; None for a single tensor."""
        if isinstance(values, dict):
            return list(values)
        if not isinstance(values, list | tuple):
            return None
        names = list(getattr(self._model, "output_names", None) or [])
        if len(names) == len(values):
            return names
        return [str(index) for index in range(len(values))]

    def broadcast_weights(self, y: Any, y_pred: Any, weights: Any) -> Any:
        """Return weights (B,) with as many axes as the losses of each output have."""
        if weights is None or self.overridden:
            return weights
        names: Sequence[str | None] = self._names(y_pred) or [self._output]
        parts = []
        for name in names:
            found = (self._pick(part, name) for part in (self._model.loss, y, y_pred))
            loss, target, outputs = found
            axes = 1 if loss is None else _losses.num_axes(loss, target, outputs)
            parts.append(_broadcast(weights, outputs, axes))
        if all(part is weights for part in parts):
            return weights
        return tree.pack_sequence_as(y_pred, parts)

    def tokens(self, y: Any, outputs: Any) -> Any:
        """Return which elements of the loss count, or None for all."""
        if self.overridden:
            return None
        return _losses.tokens_of(self._loss(), self.pick(y), outputs)

    def losses(self, y: Any, outputs: Any, tokens: Any) -> Any:
        """Return each sample's loss of the scored output, shape (B,)."""
        return _losses.per_sample(self._loss(), self.pick(y), outputs, tokens)

    def activation(self, y: Any, outputs: Any) -> str:
        """Return what made the scored output: as given, as the loss or layer says."""
        if self._activation != "auto":
            return self._activation
        expected = None
        if not self.overridden:
            expected = _losses.expected_activation(self._loss(), self.pick(y), outputs)
        found = expected or self.layer_activation()
        return found if found in ACTIVATIONS else "linear"

    def layer_activation(self) -> str:
        """Return the name of the activation of the layer that the output comes from."""
        return _last_activation(self._model, self._output)

    def _loss(self) -> Any:
        loss = self.pick(self._model.loss)
        if loss is None:
            msg = f"`output` must have a loss, got {self._output!r} with None"
            raise ValueError(msg)
        return loss


def _last_activation(model: Any, output: str | None = None) -> str:
    """Return the activation of the layer that an output comes from, if it is known."""
    if not isinstance(model, keras.Sequential) and not hasattr(model, "output_names"):
        return "linear"
    layer = model.layers[-1]
    if output is not None and output in {one.name for one in model.layers}:
        layer = model.get_layer(output)
    if isinstance(layer, keras.layers.Softmax):
        return "softmax"
    if isinstance(layer, keras.layers.Wrapper):
        layer = layer.layer
    if isinstance(layer, keras.Model):
        return _last_activation(layer)
    function = getattr(layer, "activation", None)
    for name in ("softmax", "sigmoid"):
        if function is getattr(keras.activations, name):
            return name
    # One of a user's own by the name of softmax may be another function.
    known = {"softmax", "sigmoid", "auto"}
    name = getattr(function, "__name__", "" if function else "linear")
    return f"a {name} of its own" if name in known else name or "an activation"


def _broadcast(weights: Any, outputs: Any, axes: int) -> Any:
    """Return weights (B,) as (B, ...) with so many axes."""
    if axes == 1:
        return weights
    weights = ops.reshape(weights, (-1, *[1] * (axes - 1)))
    return ops.broadcast_to(weights, ops.shape(outputs)[:axes]) * 1.0
