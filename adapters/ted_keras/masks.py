"""The mask gradient on the tensors of any Keras backend."""

from __future__ import annotations

from typing import Any

import keras
from keras import backend, ops

from ted_core.signals import _formulas

__all__ = ["Mask"]


def mask_gradient(hidden: Any, gradient: Any) -> Any:
    """Return |<h_k, dl_k/dh_k>| (B,) of a tensor and its gradient (Eq. 12)."""
    return ops.absolute(_formulas.inner_products(ops, *wide(hidden, gradient)))


def pre_activation(
    outputs: Any, gradient: Any, *, activation: str = "softmax"
) -> tuple[Any, Any]:
    """Return the pre-activation and its gradient, from those of the outputs."""
    p, g = wide(outputs, gradient)
    return _formulas.pre_activation(ops, p, g, activation)


def wide(*tensors: Any) -> list[Any]:
    """Return floating tensors in float64 if one of them is, else in float32."""
    kinds = {backend.standardize_dtype(t.dtype) for t in tensors}
    kind = "float64" if "float64" in kinds else "float32"
    return [ops.cast(tensor, kind) for tensor in tensors]


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
