"""What made an output: told by the loss that takes it, or by its layer."""

from __future__ import annotations

from typing import Any

import keras

from ted_keras.losses import resolve

__all__ = ["ACTIVATIONS", "expected_activation", "last_activation"]

ACTIVATIONS = ("auto", "linear", "softmax", "sigmoid")
"""What may have made an output."""

_SOFTMAX = {
    "categorical_crossentropy",
    "sparse_categorical_crossentropy",
    "categorical_focal_crossentropy",
    "kl_divergence",
}
_SIGMOID = {"binary_crossentropy", "binary_focal_crossentropy"}


def expected_activation(loss: Any, y: Any, outputs: Any) -> str | None:
    """Return what a loss takes its inputs for.

    Parameters
    ----------
    loss : str, callable or keras.losses.Loss
        What a model is compiled with.
    y, outputs : tensor, shape (B, ...)
        Targets and outputs; only their shapes count.

    Returns
    -------
    {"linear", "softmax", "sigmoid"} or None
        "linear" for logits; None where the loss does not tell.

    Examples
    --------
    >>> import keras
    >>> from ted_keras.activations import expected_activation
    >>> expected_activation("binary_crossentropy", None, None)
    'sigmoid'
    """
    found = resolve(loss, y, outputs)
    name = getattr(getattr(found, "fn", found), "__name__", "")
    if name not in _SOFTMAX | _SIGMOID:
        return None
    if isinstance(found, keras.losses.Loss) and found.get_config().get("from_logits"):
        return "linear"
    return "softmax" if name in _SOFTMAX else "sigmoid"


def last_activation(model: Any, output: str | None = None) -> str:
    """Return the activation of the layer that an output comes from.

    Parameters
    ----------
    model : keras.Model
        A Sequential or Functional model; of another nothing is known.
    output : str, optional
        Name of the output; the last layer's without one.

    Returns
    -------
    {"linear", "softmax", "sigmoid"}
        "linear" where it is none of the others.

    Examples
    --------
    >>> import keras
    >>> from ted_keras.activations import last_activation
    >>> last_activation(keras.Sequential([keras.layers.Dense(3, "softmax")]))
    'softmax'
    """
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
        return last_activation(layer)
    function = getattr(layer, "activation", None)
    for name in ("softmax", "sigmoid"):
        if function is getattr(keras.activations, name):
            return name
    return "linear"
