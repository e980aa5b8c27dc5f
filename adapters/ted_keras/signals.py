"""The values of signals other than the mask gradient, in a step of Keras."""

from __future__ import annotations

from typing import Any

from keras import backend, ops

from ted_core import signals

__all__ = ["head_has_bias", "observe"]

_CLASSES = 2


def observe(
    signal: str,
    *,
    losses: Any,
    labels: Any,
    outputs: Any,
    activation: str,
    hidden: Any = None,
    bias: bool = True,
) -> Any:
    """Return the values of the signal of this name.

    Parameters
    ----------
    signal : str
        A name of :data:`ted_core.signals.SIGNALS`.
    losses : tensor of float, shape (B,)
        Unscaled loss of each sample.
    labels : tensor, shape (B,), (B, 1) or (B, C)
        Class indices, or one-hot or soft labels.
    outputs : tensor of float, shape (B, C)
        The scored output.
    activation : {"linear", "softmax", "sigmoid"}
        What made the output.
    hidden : tensor of float, shape (B, D), optional
        Input of the linear head, for `grand`.
    bias : bool, default True
        Whether the head has a bias.

    Returns
    -------
    tensor of float32 or float64, shape (B,)
        Values.

    Raises
    ------
    ValueError
        The signal is one of classes, and the output has none.

    Notes
    -----
    O(size of the outputs), traceable; see :func:`ted_core.signals.compute`.

    Examples
    --------
    >>> from keras import ops
    >>> from ted_keras.signals import observe
    >>> p = ops.convert_to_tensor([[0.75, 0.25]])
    >>> observe(
    ...     "margin", losses=None, labels=None, outputs=p, activation="softmax"
    ... ).numpy().tolist()
    [0.5]
    """
    if signal == "loss":
        return losses
    if len(outputs.shape) != _CLASSES or outputs.shape[-1] < _CLASSES:
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
    if "labels" in needed:
        labels = _one_hot(labels, logits)
    if "hidden" in needed and hidden is None:
        msg = f"`model` must have a `ted_keras.Mask()` before its head for {signal!r}"
        raise ValueError(msg)
    return signals.compute(
        signal, logits=logits, labels=labels, hidden=hidden, bias=bias, xp=ops
    )


def head_has_bias(model: Any) -> bool:
    """Tell whether the last layer of a model adds a bias, as far as it is known.

    Parameters
    ----------
    model : keras.Model
        Any model.

    Returns
    -------
    bool
        True where nothing is known.

    Examples
    --------
    >>> import keras
    >>> from ted_keras.signals import head_has_bias
    >>> head_has_bias(keras.Sequential([keras.layers.Dense(3, use_bias=False)]))
    False
    """
    layers = getattr(model, "layers", None) or [model]
    return bool(getattr(layers[-1], "use_bias", True))


def _one_hot(labels: Any, logits: Any) -> Any:
    """Return labels in the shape of the logits; NaN for a class out of range."""
    labels = ops.convert_to_tensor(labels)
    kind = backend.standardize_dtype(logits.dtype)
    if len(labels.shape) == len(logits.shape) and labels.shape[-1] != 1:
        return ops.cast(labels, kind)
    index = ops.cast(ops.reshape(labels, (-1, 1)), "int32")
    hot = ops.equal(index, ops.arange(logits.shape[-1], dtype="int32")[None])
    known = ops.any(hot, axis=-1, keepdims=True)
    return ops.where(known, ops.cast(hot, kind), float("nan"))
