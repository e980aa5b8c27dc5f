"""The values of signals other than the mask gradient, in a step of Keras."""

from __future__ import annotations

from typing import Any

from keras import backend, ops

from ted_core import signals
from ted_core.config import RunConfig
from ted_core.signals import _formulas

_CLASS_AXES = 2


def check_classes(
    config: RunConfig, outputs: Any, activation: str, *, masked: bool
) -> None:
    """Refuse outputs that a signal of classes can't be made of."""
    signal, shape = config.signal, tuple(outputs.shape)
    if signal in {"mask_gradient", "loss"}:
        return
    if len(shape) != _CLASS_AXES or shape[-1] < 2:  # noqa: PLR2004
        raise ValueError(config.no_classes(f"one of shape {shape}"))
    if activation == "sigmoid":
        raise ValueError(config.no_classes(f"sigmoids of shape {shape}"))
    if "hidden" in signals.INPUTS[signal] and not masked:
        msg = f"`model` must have a `ted_keras.Mask()` before its head for {signal!r}"
        raise ValueError(msg)


def signal_values(
    config: RunConfig, y: Any, outputs: Any, activation: str, hidden: Any, *, bias: bool
) -> Any:
    """Return a signal of classes from outputs (B, C); `hidden` is the head's input."""
    check_classes(config, outputs, activation, masked=hidden is not None)
    signal, logits = config.signal, outputs
    if activation == "softmax":
        tiny = 1e-38  # log 0 is none of a class's logits
        logits = ops.log(ops.maximum(outputs, tiny))
    return signals.compute(
        signal,
        logits=logits,
        labels=_one_hot(y, logits) if "labels" in signals.INPUTS[signal] else None,
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
