"""What a model is compiled with, taken apart: a loss a sample, and its reduction."""

from __future__ import annotations

from typing import Any

import keras
from keras import backend, ops

# Names whose meaning Keras takes from the shapes of targets and outputs.
_BY_SHAPE = ("ce", "crossentropy")
_OF_SOFTMAX = {
    "categorical_crossentropy",
    "sparse_categorical_crossentropy",
    "categorical_focal_crossentropy",
    "kl_divergence",
}
_OF_SIGMOID = {"binary_crossentropy", "binary_focal_crossentropy"}
# Losses of Keras that leave one number a sample, not one for all but the last axis.
_OF_WHOLE_SAMPLES = {"ctc", "dice", "tversky"}
# How far from 1 the sum of probabilities may be: half precision rounds.
_NEAR = 1e-2


def resolve_loss(loss: Any, y: Any, outputs: Any) -> Any:
    """Return the loss object or function that Keras makes of a loss."""
    if loss not in _BY_SHAPE:
        return keras.losses.get(loss)
    if outputs.shape[-1] == 1:
        return keras.losses.binary_crossentropy
    if len(y.shape) < len(outputs.shape) or y.shape[-1] == 1:
        return keras.losses.sparse_categorical_crossentropy
    return keras.losses.categorical_crossentropy


def reduction_of(loss: Any) -> str:
    """Return "mean" or "sum", as Keras will reduce a loss over the batch."""
    if loss in _BY_SHAPE:
        return "mean"
    kind = getattr(keras.losses.get(loss), "reduction", "mean")
    if kind not in {"sum", "mean", "sum_over_batch_size"}:
        why = (
            ", which divides 1 / r_t out again" if str(kind).startswith("mean") else ""
        )
        msg = (
            "`reduction` of the loss must be 'sum_over_batch_size' or 'sum', got "
            f"{kind!r}{why}; leave `reduction` out"
        )
        raise ValueError(msg)
    return "sum" if kind == "sum" else "mean"


def expected_activation(loss: Any, y: Any, outputs: Any) -> str | None:
    """Return what a loss takes its inputs for ("linear": logits), or None."""
    found = resolve_loss(loss, y, outputs)
    name = getattr(getattr(found, "fn", found), "__name__", "")
    if name not in _OF_SOFTMAX | _OF_SIGMOID:
        return None
    if isinstance(found, keras.losses.Loss) and found.get_config().get("from_logits"):
        return "linear"
    return "softmax" if name in _OF_SOFTMAX else "sigmoid"


def made_of(outputs: Any) -> str:
    """Return what a batch's outputs look like: of a "softmax", a "sigmoid", or ""."""
    found = ops.cast(outputs, "float32")
    if not bool(ops.all((found >= 0) & (found <= 1 + _NEAR))):
        return ""
    if outputs.shape[-1] > 1 and bool(ops.all(abs(ops.sum(found, -1) - 1) < _NEAR)):
        return "softmax"
    return "sigmoid"


def per_sample(loss: Any, y: Any, outputs: Any, tokens: Any) -> Any:
    """Return losses (B,); further axes are averaged with the weights of `tokens`."""
    values = _elements(loss, y, outputs)
    axes = tuple(range(1, len(values.shape)))
    if not axes:
        return values
    if tokens is None:
        return ops.mean(values, axis=axes)
    tokens = ops.cast(tokens, values.dtype)
    count = ops.sum(tokens, axis=axes)
    return ops.divide_no_nan(ops.sum(values * tokens, axis=axes), count)


def num_axes(loss: Any, y: Any, outputs: Any) -> int:
    """Return how many axes the losses have that Keras multiplies weights with."""
    found = resolve_loss(loss, y, outputs)
    function = getattr(found, "fn", None) or found
    home = getattr(function, "__module__", None) or type(function).__module__
    if home.partition(".")[0] == "keras":
        axis = found.get_config().get("axis", -1) if function is not found else -1
        if axis == -1 and getattr(function, "__name__", "") not in _OF_WHOLE_SAMPLES:
            return max(len(outputs.shape) - 1, 1)  # the last axis is spent
    return len(_elements(loss, y, outputs).shape)


def tokens_of(loss: Any, y: Any, outputs: Any) -> Any:
    """Return 1.0 where an element (B, T) of a sequence's loss counts, else 0.0."""
    axes = num_axes(loss, y, outputs)
    if axes == 1:
        return None  # one number a sample
    ones = ops.ones(ops.shape(outputs)[:axes], dtype="float32")
    tokens = _AllOnes(ones)(ones, outputs)  # times the mask that the outputs carry
    found = resolve_loss(loss, y, outputs)
    ignored = None
    if isinstance(found, keras.losses.Loss):
        ignored = found.get_config().get("ignore_class")
    if ignored is not None:
        y = ops.reshape(y, ops.shape(tokens))
        tokens = tokens * ops.cast(ops.not_equal(y, ignored), "float32")
    return tokens


class _AllOnes(keras.losses.Loss):  # type: ignore[misc]
    """A loss of 1 everywhere: what Keras leaves of it is the mask."""

    def __init__(self, ones: Any) -> None:
        super().__init__(name="all_ones", reduction="none")
        self._ones = ones

    def call(self, y_true: Any, y_pred: Any) -> Any:
        del y_true, y_pred
        return self._ones


def _elements(loss: Any, y: Any, outputs: Any) -> Any:
    """Return the loss before any reduction."""
    found = resolve_loss(loss, y, outputs)
    # As Keras' own losses do: targets of the outputs' type.
    y = ops.cast(ops.convert_to_tensor(y), backend.standardize_dtype(outputs.dtype))
    if isinstance(found, keras.losses.Loss):
        values = found.call(y, outputs)
    else:
        values = found(*_same_axes(y, outputs))
    if len(values.shape) == 0:  # a TensorShape without axes is true
        msg = (
            f"`loss` must give a loss for each sample, got one number from {loss!r}; "
            "leave the mean over the batch to Keras"
        )
        raise TypeError(msg)
    return values


def _same_axes(y: Any, outputs: Any) -> tuple[Any, Any]:
    """Give as many axes to two tensors that differ by a last one of length 1."""
    ndim_y, ndim_outputs = len(y.shape), len(outputs.shape)
    if ndim_y == ndim_outputs + 1 and y.shape[-1] == 1:
        return ops.squeeze(y, axis=-1), outputs
    if ndim_outputs == ndim_y + 1 and outputs.shape[-1] == 1:
        return ops.expand_dims(y, axis=-1), outputs
    return y, outputs
