"""Which output of a model is scored, with which loss, made by what."""

from __future__ import annotations

import inspect
from typing import Any

import keras
from keras import ops, tree

from ted_keras import _losses

ACTIVATIONS = ("auto", "linear", "softmax", "sigmoid")
"""What may have made an output."""


class Objective:
    """One output of a compiled model, its loss and its activation."""

    # Made while no session overrides the model's `compute_loss`; `overridden` says
    # whether that is another than Keras'.

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

    def weigh(self, y: Any, y_pred: Any, scale: Any, given: Any) -> Any:
        """Return `scale` (B,) times the weights given, with the losses' axes."""
        if given is None and (scale is None or self.overridden):
            return scale
        if self.overridden:  # it gets them in the form given
            return tree.map_structure(lambda one: _times(scale, one), given)

        def weights(name: str | None) -> Any:
            found = (self._pick(part, name) for part in (self._model.loss, y, y_pred))
            loss, target, outputs = found
            one = self._pick(given, name) if tree.is_nested(given) else given
            axes = 1 if loss is None else _losses.num_axes(loss, target, outputs)
            return _broadcast(_times(scale, one), outputs, axes)

        names = self._names(y_pred)
        if names is None:
            return weights(self._output)
        if isinstance(y_pred, dict):
            return {name: weights(name) for name in names}
        return [weights(name) for name in names]

    def relative(self, weights: Any) -> Any:
        """Return weights of elements divided by their mean in each sample; or None."""
        return None if weights is None else tree.map_structure(_relative, weights)

    def given(self, weights: Any) -> tuple[Any, Any]:
        """Return the scored output's weights: of samples (B,), of elements (B, ...)."""
        if weights is None:
            return None, None
        picked = self.pick(weights) if tree.is_nested(weights) else weights
        return (None, picked) if len(picked.shape) > 1 else (picked, None)

    def tokens(self, y: Any, outputs: Any, weights: Any) -> tuple[Any, Any]:
        """Return which elements of the loss count, and what each weighs; or None."""
        if self.overridden:
            return None if weights is None else ops.ones_like(weights), weights
        tokens = _losses.tokens_of(self._loss(), self.pick(y), outputs)
        if weights is None:
            return tokens, tokens
        return tokens, tokens * _with_axes(weights, len(tokens.shape))

    def losses(self, y: Any, outputs: Any, tokens: Any) -> Any:
        """Return each sample's loss of the scored output, shape (B,)."""
        return _losses.per_sample(self._loss(), self.pick(y), outputs, tokens)

    def activation(self, y: Any, outputs: Any) -> str:
        """Return what made the scored output: as given, as the loss or layer says."""
        if self._activation != "auto":
            return self._activation
        found = self._expected(y, outputs) or self.layer_activation()
        return found if found in ACTIVATIONS else "linear"

    def _expected(self, y: Any, outputs: Any) -> str | None:
        """Return what the loss takes the scored output for, or None."""
        if self.overridden:
            return None
        return _losses.expected_activation(self._loss(), self.pick(y), outputs)

    def mismatch(self, y: Any, outputs: Any) -> str:
        """Return what to say of outputs that the loss takes for others, or ""."""
        expected, found = self._expected(y, outputs), _losses.made_of(outputs)
        if expected == "linear":
            # Logits may lie in [0, 1], too.
            if found == "softmax" or self.layer_activation() == "sigmoid":
                return (
                    "the loss takes logits (`from_logits=True`), got outputs that are "
                    "probabilities: leave that argument out, or the last activation"
                )
        elif expected is not None and found not in {expected, "softmax"}:
            sums = "" if expected == "sigmoid" else " or do not sum to 1"
            return (
                f"the loss takes probabilities, got outputs that are not in [0, 1]"
                f"{sums}: give the loss `from_logits=True`, or the model a last "
                f"{expected}"
            )
        return ""

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


def _times(scale: Any, weights: Any) -> Any:
    """Return the product of factors (B,) and weights (B, ...), either of them None."""
    if scale is None or weights is None:
        return weights if scale is None else scale
    return ops.reshape(scale, (-1, *[1] * (len(weights.shape) - 1))) * weights


def _broadcast(weights: Any, outputs: Any, axes: int) -> Any:
    """Return weights (B, ...) with so many axes, those of the outputs."""
    shape, wanted = tuple(weights.shape), tuple(outputs.shape)[:axes]
    fits = all(
        k in {1, None, m} or m is None for k, m in zip(shape, wanted, strict=False)
    )
    if len(shape) > axes or not fits:
        msg = (
            f"`weights` must have the losses' shape {wanted}, or their first axes, got "
            f"shape {shape}; with several targets give weights for each"
        )
        raise ValueError(msg)
    if axes == 1:
        return weights
    weights = _with_axes(weights, axes)
    return ops.broadcast_to(weights, ops.shape(outputs)[:axes]) * 1.0


def _with_axes(weights: Any, axes: int) -> Any:
    """Return weights with further axes of length 1."""
    more = [1] * (axes - len(weights.shape))
    return ops.reshape(weights, (*ops.shape(weights), *more)) if more else weights


def _relative(weights: Any) -> Any:
    """Return weights of elements divided by their mean in each sample; 1 of samples."""
    axes = tuple(range(1, len(weights.shape)))
    return ops.divide_no_nan(weights, ops.mean(weights, axis=axes, keepdims=True))
