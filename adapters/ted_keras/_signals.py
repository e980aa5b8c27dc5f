"""The values of signals other than the mask gradient, in a step of Keras."""

from __future__ import annotations

from typing import Any

from keras import backend, ops

from ted_core import signals
from ted_core.signals import _formulas

_CLASS_AXES = 2


def signal_values(
    signal: str, y: Any, outputs: Any, activation: str, hidden: Any, *, bias: bool
) -> Any:
    """Return a signal of classes from outputs (B, C); `hidden` is the head's input."""
    if len(outputs.shape) != _CLASS_AXES or outputs.shape[-1] < 2:  # noqa: PLR2004
        msg = (
            f"`signal` must be 'mask_gradient' or 'loss' for an output of shape "
            f"{tuple(outputs.shape)}, got {signal!r}, which is one of classes (B, C)"
        )
        raise ValueError(msg)
    if activation == "sigmoid":
        msg = f"`signal` must not be {signal!r} for the activation 'sigmoid'"
        raise ValueError(msg)
    logits = outputs
    if activation == "softmax":
        tiny = 1e-38  # log 0 is none of a class's logits
        logits = ops.log(ops.maximum(outputs, tiny))
    needed = signals.INPUTS[signal]
    if "hidden" in needed and hidden is None:
        msg = f"`model` must have a `ted_keras.Mask()` before its head for {signal!r}"
        raise ValueError(msg)
    return signals.compute(
        signal,
        logits=logits,
        labels=_one_hot(y, logits) if "labels" in needed else None,
        hidden=hidden,
        bias=bias,
        xp=ops,
    )


def _one_hot(labels: Any, logits: Any) -> Any:
    """Return labels in the shape of the logits; NaN for a class out of range."""
    labels = ops.convert_to_tensor(labels)
    kind = backend.standardize_dtype(logits.dtype)
    if len(labels.shape) == len(logits.shape) and labels.shape[-1] != 1:
        return ops.cast(labels, kind)
    index = ops.cast(ops.reshape(labels, (-1,)), "int32")
    classes = ops.arange(logits.shape[-1], dtype="int32")
    return _formulas.one_hot(ops, logits, index, classes)
