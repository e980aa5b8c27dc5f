"""The mask gradient on the tensors of any Keras backend."""

from __future__ import annotations

from typing import Any

import keras
from keras import backend, ops

from ted_core._validation import check_choice
from ted_core.signals import _formulas

__all__ = ["Mask", "mask_gradient", "pre_activation"]


def mask_gradient(hidden: Any, gradient: Any) -> Any:
    r"""Return each sample's mask gradient, ``|<h_k, dl_k/dh_k>|`` (Eq. 12).

    Parameters
    ----------
    hidden : tensor of float, shape (B, ...)
        The masked tensor: logits or a feature. Softmax or sigmoid outputs go through
        :func:`pre_activation` first: their own value is the same for all samples.
    gradient : tensor of float, shape (B, ...)
        Gradient of the sum of the per-sample losses with respect to `hidden`.

    Returns
    -------
    tensor of float32 or float64, shape (B,)
        Values; half precision accumulates in float32.

    Raises
    ------
    ValueError, TypeError
        The shapes differ, or the tensors are not floating.

    Notes
    -----
    O(size of `hidden`), traceable, no synchronisation with the device.
    Source: TED, ECAI 2024, Eq. 12.

    Examples
    --------
    >>> from keras import ops
    >>> from ted_keras import mask_gradient
    >>> h = ops.convert_to_tensor([[1.0, 2.0], [3.0, 0.0]])
    >>> g = ops.convert_to_tensor([[0.5, -1.0], [0.5, 1.0]])
    >>> ops.convert_to_numpy(mask_gradient(h, g)).tolist()
    [1.5, 1.5]
    """
    hidden, gradient = _pair("hidden", hidden, gradient)
    return ops.absolute(_formulas.inner_products(ops, hidden, gradient))


def pre_activation(
    outputs: Any, gradient: Any, *, activation: str = "softmax"
) -> tuple[Any, Any]:
    r"""Return the pre-activation and its gradient, from those of the outputs.

    For softmax z = log p and dl/dz = p (g - <p, g>); the constant that z lacks drops
    out of the mask gradient, since dl/dz sums to 0. For sigmoid z = log(p / (1 - p))
    and dl/dz = g p (1 - p).

    Parameters
    ----------
    outputs : tensor of float, shape (B, ...)
        Probabilities p in [0, 1]; a softmax runs over the last axis.
    gradient : tensor of float, shape (B, ...)
        g, gradient of the sum of the per-sample losses with respect to `outputs`.
    activation : {"softmax", "sigmoid"}, default "softmax"
        What made the outputs.

    Returns
    -------
    hidden : tensor of float32 or float64, shape (B, ...)
        The pre-activation z; 0 where p is 0, or 1 for sigmoid: dl/dz is 0 there.
    gradient : tensor of float32 or float64, shape (B, ...)
        Gradient dl/dz.

    Raises
    ------
    ValueError, TypeError
        `activation` is another, the shapes differ, or the tensors are not floating.

    Notes
    -----
    O(size of `outputs`), traceable. Source: TED, ECAI 2024, Eq. 12.

    Examples
    --------
    >>> from keras import ops
    >>> from ted_keras import mask_gradient, pre_activation
    >>> p = ops.convert_to_tensor([[0.5, 0.5]])
    >>> z, dz = pre_activation(p, ops.convert_to_tensor([[-2.0, 0.0]]))
    >>> ops.convert_to_numpy(dz).tolist()
    [[-0.5, 0.5]]
    """
    check_choice("activation", activation, ("softmax", "sigmoid"))
    p, g = _pair("outputs", outputs, gradient)
    return _formulas.pre_activation(ops, p, g, activation)


def _pair(name: str, value: Any, gradient: Any) -> tuple[Any, Any]:
    """Return two floating tensors of one shape as float32 or float64, checked."""
    try:
        value, gradient = map(ops.convert_to_tensor, (value, gradient))
    except (TypeError, ValueError) as error:
        given = f"{type(value).__name__} and {type(gradient).__name__}"
        msg = f"`{name}` and `gradient` must be tensors, got {given}: {error}"
        raise TypeError(msg) from None
    if tuple(value.shape) != tuple(gradient.shape) or len(value.shape) == 0:
        msg = (
            f"`{name}` and `gradient` must have one shape (B, ...), got shapes "
            f"{tuple(value.shape)} and {tuple(gradient.shape)}"
        )
        raise ValueError(msg)
    kinds = {backend.standardize_dtype(t.dtype) for t in (value, gradient)}
    if not all("float" in kind for kind in kinds):
        msg = f"`{name}` and `gradient` must be floating, got {sorted(kinds)}"
        raise TypeError(msg)
    wide = "float64" if "float64" in kinds else "float32"
    return ops.cast(value, wide), ops.cast(gradient, wide)


@keras.saving.register_keras_serializable("ted_keras")
class Mask(keras.layers.Layer):  # type: ignore[misc]
    """Mark the tensor of the model that is masked.

    Parameters
    ----------
    **options : str and others
        ``name`` and the rest of :class:`keras.layers.Layer`.

    Notes
    -----
    The same numbers go out as came in. While a session trains the model, the
    ordinary backward also gives <h_k, dl_k/dh_k> here (Eq. 12): one pass over the
    tensor, no second pass through the network. At any other time, and in a model
    saved and loaded, the layer does nothing. In front of a layer normalisation the
    value is 0; on the model's input the backward never arrives.
    Source: TED, ECAI 2024, Eq. 12.

    Examples
    --------
    >>> import keras
    >>> from ted_keras import Mask
    >>> model = keras.Sequential(
    ...     [keras.Input((4,)), keras.layers.Dense(8), Mask(), keras.layers.Dense(3)]
    ... )
    >>> model.count_params()
    67
    """

    def __init__(self, **options: Any) -> None:
        super().__init__(**options)
        self.supports_masking = True
        self.built = True
        self._recorder: Any = None  # that of the session that trains the model

    def call(self, inputs: Any) -> Any:
        """Return `inputs`; in a session's training step, record their gradient."""
        return inputs if self._recorder is None else self._recorder.tap(inputs)

    def compute_output_shape(self, input_shape: Any) -> Any:
        """Return the shape that comes in."""
        return input_shape

    def get_config(self) -> dict[str, Any]:
        """Return what a saved model keeps: name and type, as of any layer."""
        config: dict[str, Any] = super().get_config()
        return config
