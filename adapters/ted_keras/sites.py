"""The mask on an inner tensor: a layer that lets its input through."""

from __future__ import annotations

from typing import Any

import keras

__all__ = ["Mask", "find_mask"]


@keras.saving.register_keras_serializable("ted_keras")
class Mask(keras.layers.Layer):  # type: ignore[misc]
    """Mark a tensor of the model as the place of the mask.

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

    References
    ----------
    J. Xiao, P. Li, J. Nie, TED: Accelerate Model Training by Internal
    Generalization, ECAI 2024, Eq. 12.

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
        self._recorder: Any = None

    def call(self, inputs: Any) -> Any:
        """Return `inputs`; in a session's training step, record their gradient.

        Parameters
        ----------
        inputs : tensor of float, shape (B, ...)
            Tensor of the forward pass.

        Returns
        -------
        tensor of float, shape (B, ...)
            `inputs`.
        """
        return inputs if self._recorder is None else self._recorder.tap(inputs)

    def compute_output_shape(self, input_shape: Any) -> Any:
        """Return the shape that comes in.

        Parameters
        ----------
        input_shape : tuple of int
            Shape of the input.

        Returns
        -------
        tuple of int
            The same.
        """
        return input_shape

    def get_config(self) -> dict[str, Any]:
        """Return what a saved model keeps: name and type.

        Returns
        -------
        dict
            As of any layer.
        """
        config: dict[str, Any] = super().get_config()
        return config

    def record_to(self, recorder: Any) -> None:
        """Hand the gradients to a session's recorder, or to nobody.

        Parameters
        ----------
        recorder : Recorder or None
            Who taps the tensor.
        """
        self._recorder = recorder


def find_mask(model: Any) -> Mask | None:
    """Return the one mask layer of a model, or None.

    Parameters
    ----------
    model : keras.Model
        Its layers, and theirs, are looked through.

    Returns
    -------
    Mask or None
        The layer.

    Raises
    ------
    ValueError
        There are several.

    Examples
    --------
    >>> import keras
    >>> from ted_keras.sites import Mask, find_mask
    >>> layer = Mask(name="feature")
    >>> find_mask(keras.Sequential([keras.Sequential([layer])])) is layer
    True
    """
    found = list({id(one): one for one in _walk(model)}.values())
    if len(found) > 1:
        names = ", ".join(layer.name for layer in found)
        msg = f"`model` must have at most one Mask, got {names}"
        raise ValueError(msg)
    return found[0] if found else None


def _walk(layer: Any) -> list[Mask]:
    if isinstance(layer, Mask):
        return [layer]
    inner = list(getattr(layer, "layers", ()))
    wrapped = getattr(layer, "layer", None)
    if isinstance(wrapped, keras.layers.Layer):
        inner.append(wrapped)
    return [mask for one in inner for mask in _walk(one)]
