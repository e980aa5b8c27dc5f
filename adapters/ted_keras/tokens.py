"""Which elements of a sequence count, by Keras' mask and by the loss."""

from __future__ import annotations

from typing import Any

import keras
from keras import ops

from ted_keras.losses import rank_of, resolve

__all__ = ["tokens_of"]


def tokens_of(loss: Any, y: Any, outputs: Any) -> Any:
    """Return which elements of a sequence's loss count, or None for all.

    Parameters
    ----------
    loss : str, callable or keras.losses.Loss
        What a model is compiled with; its ``ignore_class`` is heeded.
    y : tensor, shape (B, ...)
        Targets.
    outputs : tensor of float, shape (B, T, ...)
        Outputs as the model gave them, with Keras' mask if there is one.

    Returns
    -------
    tensor of float32, shape (B, T), or None
        1 where an element counts, 0 elsewhere.

    Examples
    --------
    >>> from keras import ops
    >>> from ted_keras.tokens import tokens_of
    >>> ops.convert_to_numpy(tokens_of("mse", None, ops.ones((1, 2, 3)))).tolist()
    [[1.0, 1.0]]
    """
    rank = rank_of(loss, y, outputs)
    if rank == 1:
        return None
    ones = ops.ones(ops.shape(outputs)[:rank], dtype="float32")
    tokens = _Whole(ones)(ones, outputs)
    found = resolve(loss, y, outputs)
    ignored = None
    if isinstance(found, keras.losses.Loss):
        ignored = found.get_config().get("ignore_class")
    if ignored is not None:
        y = ops.reshape(y, ops.shape(tokens))
        tokens = tokens * ops.cast(ops.not_equal(y, ignored), "float32")
    return tokens


class _Whole(keras.losses.Loss):  # type: ignore[misc]
    """A loss of 1 everywhere: what Keras leaves of it is the mask."""

    def __init__(self, ones: Any) -> None:
        super().__init__(name="whole", reduction="none")
        self._ones = ones

    def call(self, y_true: Any, y_pred: Any) -> Any:
        del y_true, y_pred
        return self._ones
