"""Keras losses, taken apart: a loss for each sample, and how it is reduced."""

from __future__ import annotations

from typing import Any

import keras
from keras import backend, ops

__all__ = [
    "per_sample",
    "rank_of",
    "reduction_of",
    "resolve",
    "tokens_of",
]

_SHORT = ("ce", "crossentropy")


def per_sample(loss: Any, y: Any, outputs: Any, tokens: Any = None) -> Any:
    """Return a loss for each sample: neither weighted nor reduced over the batch.

    Parameters
    ----------
    loss : str, callable or keras.losses.Loss
        What a model is compiled with.
    y : tensor, shape (B, ...)
        Targets.
    outputs : tensor of float, shape (B, ...)
        Outputs of the model.
    tokens : tensor of float, shape (B, ...), optional
        1 for each element of the loss that counts; see `ted_keras.losses`.

    Returns
    -------
    tensor of float, shape (B,)
        Losses; further axes are averaged.

    Raises
    ------
    TypeError
        The loss gives one number for a batch.

    Notes
    -----
    One evaluation of the loss; traceable.

    Examples
    --------
    >>> from keras import ops
    >>> from ted_keras.losses import per_sample
    >>> y, z = ops.array([[0.0, 0.0], [1.0, 1.0]]), ops.array([[1.0, 3.0], [1.0, 0.0]])
    >>> ops.convert_to_numpy(per_sample("mse", y, z)).tolist()
    [5.0, 0.5]
    """
    values = _elements(loss, y, outputs)
    axes = tuple(range(1, len(values.shape)))
    if not axes:
        return values
    if tokens is None:
        return ops.mean(values, axis=axes)
    tokens = ops.cast(tokens, values.dtype)
    count = ops.sum(tokens, axis=axes)
    return ops.divide_no_nan(ops.sum(values * tokens, axis=axes), count)


def rank_of(loss: Any, y: Any, outputs: Any) -> int:
    """Return how many axes the losses have that Keras multiplies weights with.

    Parameters
    ----------
    loss : str, callable or keras.losses.Loss
        What a model is compiled with.
    y, outputs : tensor, shape (B, ...)
        Targets and outputs.

    Returns
    -------
    int
        1 for one loss a sample, 2 for one a token.

    Examples
    --------
    >>> from keras import ops
    >>> from ted_keras.losses import rank_of
    >>> rank_of("mse", ops.ones((4, 7, 2)), ops.ones((4, 7, 2)))
    2
    """
    found = resolve(loss, y, outputs)
    function = getattr(found, "fn", None) or found
    home = getattr(function, "__module__", None) or type(function).__module__
    if home.partition(".")[0] == "keras":
        return max(len(outputs.shape) - 1, 1)  # Keras' own losses spend the last axis
    return len(_elements(loss, y, outputs).shape)


def reduction_of(loss: Any) -> str:
    """Return how Keras will reduce a loss over the batch.

    Parameters
    ----------
    loss : str, callable or keras.losses.Loss
        What a model is compiled with.

    Returns
    -------
    {"mean", "sum"}
        How.

    Raises
    ------
    ValueError
        The loss divides by the weights, or it is not reduced.

    Examples
    --------
    >>> import keras
    >>> from ted_keras.losses import reduction_of
    >>> reduction_of(keras.losses.MeanSquaredError(reduction="sum"))
    'sum'
    """
    kind = "mean"
    if loss not in _SHORT:
        kind = getattr(keras.losses.get(loss), "reduction", "mean")
    if kind == "mean_with_sample_weight":
        msg = (
            "`reduction` of the loss must not be 'mean_with_sample_weight', which "
            "divides 1 / r_t out again; use 'sum_over_batch_size'"
        )
        raise ValueError(msg)
    if kind in {None, "none"}:
        msg = (
            "`reduction` of the loss must be 'sum_over_batch_size' or 'sum', got "
            f"{kind!r}"
        )
        raise ValueError(msg)
    return "sum" if kind == "sum" else "mean"


def resolve(loss: Any, y: Any, outputs: Any) -> Any:
    """Return the loss object or function that Keras makes of a loss.

    Parameters
    ----------
    loss : str, callable or keras.losses.Loss
        What a model is compiled with.
    y, outputs : tensor, shape (B, ...)
        Targets and outputs, whose shapes tell what "crossentropy" means.

    Returns
    -------
    keras.losses.Loss or callable
        The loss.

    Examples
    --------
    >>> from ted_keras.losses import resolve
    >>> resolve("mse", None, None).__name__
    'mean_squared_error'
    """
    if loss not in _SHORT:
        return keras.losses.get(loss)
    if outputs.shape[-1] == 1:
        return keras.losses.binary_crossentropy
    if len(y.shape) < len(outputs.shape) or y.shape[-1] == 1:
        return keras.losses.sparse_categorical_crossentropy
    return keras.losses.categorical_crossentropy


def _elements(loss: Any, y: Any, outputs: Any) -> Any:
    found = resolve(loss, y, outputs)
    # As Keras' own losses do: targets of the outputs' type.
    y = ops.cast(ops.convert_to_tensor(y), backend.standardize_dtype(outputs.dtype))
    if isinstance(found, keras.losses.Loss):
        values = found.call(y, outputs)
    else:
        values = found(*_same_rank(y, outputs))
    if len(values.shape) == 0:  # a TensorShape without axes is true
        msg = (
            f"`loss` must give a loss for each sample, got one number from {loss!r}; "
            "leave the mean over the batch to Keras"
        )
        raise TypeError(msg)
    return values


def _same_rank(y: Any, outputs: Any) -> tuple[Any, Any]:
    """Give two tensors whose ranks differ by a last axis of length 1 one rank."""
    more, less = len(y.shape), len(outputs.shape)
    if more == less + 1 and y.shape[-1] == 1:
        return ops.squeeze(y, axis=-1), outputs
    if less == more + 1 and outputs.shape[-1] == 1:
        return ops.expand_dims(y, axis=-1), outputs
    return y, outputs


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
    >>> from ted_keras.losses import tokens_of
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
