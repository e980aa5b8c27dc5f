"""A model's losses, gradients and weights as NumPy arrays for `ted_core.analysis`."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial
from itertools import pairwise
from typing import Any

import numpy as np
from keras import backend, ops
from numpy.typing import ArrayLike, NDArray

from ted_keras._backends import adapt

__all__ = ["flat_gradient", "flat_weights", "load_flat_weights", "sample_losses"]

_Loss = Callable[[Any, Any], Any]


def sample_losses(
    model: Any, x: Any, y: Any, loss: _Loss, *, batch_size: int = 256
) -> NDArray[np.float64]:
    """Return the loss of every sample, in the order of the arrays.

    Parameters
    ----------
    model : keras.Model
        Built; called with ``training=False``.
    x, y : array, shape (n, ...)
        Inputs and targets.
    loss : callable
        Takes the targets and the outputs of a batch, as Keras' loss functions do, and
        returns losses of shape (B, ...); more than one for a sample are averaged.
    batch_size : int, default 256
        Samples of one forward pass.

    Returns
    -------
    ndarray of float64, shape (n,)
        Losses.

    Raises
    ------
    ValueError
        `x` and `y` differ in length, or `loss` returns no row for each sample.

    Notes
    -----
    One forward pass of the data, one batch after the other.

    Examples
    --------
    >>> import keras
    >>> import numpy as np
    >>> from ted_keras.analysis import sample_losses
    >>> model = keras.Sequential([keras.Input((1,)), keras.layers.Identity()])
    >>> x, y = np.array([[1.0], [3.0]]), np.zeros((2, 1))
    >>> sample_losses(model, x, y, keras.losses.mean_squared_error).tolist()
    [1.0, 9.0]
    """
    parts = [
        ops.convert_to_numpy(_losses(partial(model, training=False), *batch, loss))
        for batch in _batches(x, y, batch_size)
    ]
    return np.concatenate([np.empty(0), *parts])


def flat_gradient(
    model: Any, x: Any, y: Any, loss: _Loss, *, batch_size: int = 256
) -> NDArray[np.float64]:
    r"""Return the gradient of L(D, theta), the mean loss over the data, flattened.

    Parameters
    ----------
    model : keras.Model
        Built; called with ``training=False``. Its state is left as it is.
    x : array, shape (n, ...)
        Inputs, n at least 1; the retained samples are ``x[plan.kept]``.
    y, loss, batch_size : array, callable and int
        As of :func:`sample_losses`; the gradient does not depend on `batch_size`.

    Returns
    -------
    ndarray of float64, shape (p,)
        Gradient at ``model.trainable_variables``, in their order.

    Raises
    ------
    ValueError
        `x` is empty, or refused as by :func:`sample_losses`.

    Notes
    -----
    One forward and backward pass of the data, on any backend.
    Source: TED, ECAI 2024, Eq. 22, Fig. 4.

    Examples
    --------
    >>> import keras
    >>> import numpy as np
    >>> from ted_keras.analysis import flat_gradient
    >>> layers = [keras.Input((1,)), keras.layers.Dense(1, use_bias=False)]
    >>> x, y = np.float32([[1], [3]]), np.float32([[0], [0]])
    >>> flat_gradient(keras.Sequential(layers), x, y, lambda y, z: z - y).tolist()
    [2.0]
    """
    if len(x) == 0:
        msg = "`x` must hold at least one sample, got none"
        raise ValueError(msg)
    variables, rest = model.trainable_variables, model.non_trainable_variables
    theta = ops.concatenate([ops.reshape(v.value, (-1,)) for v in variables])
    ends = np.cumsum([0, *(int(np.prod(v.shape)) for v in variables)]).tolist()
    found = np.zeros(ends[-1])
    for batch in _batches(x, y, batch_size):

        def total(theta: Any, batch: tuple[Any, Any] = batch) -> Any:
            parts = [theta[first:end] for first, end in pairwise(ends)]
            pairs = zip(parts, variables, strict=True)
            values = [ops.reshape(part, variable.shape) for part, variable in pairs]

            def call(inputs: Any) -> Any:
                return model.stateless_call(values, rest, inputs, training=False)[0]

            return ops.sum(_losses(call, *batch, loss))

        found += ops.convert_to_numpy(adapt().gradient(total, theta)[1])
    return found / len(x)


def flat_weights(model: Any) -> NDArray[np.float64]:
    """Return the model's floating-point weights as one vector.

    Parameters
    ----------
    model : keras.Model
        Built.

    Returns
    -------
    ndarray of float64, shape (p,)
        A copy, in the order of ``model.weights``: the statistics of batch norms are in
        it, the seeds of dropout are not.

    Examples
    --------
    >>> import keras
    >>> from ted_keras.analysis import flat_weights
    >>> layers = [keras.Input((2,)), keras.layers.BatchNormalization()]
    >>> flat_weights(keras.Sequential(layers)).tolist()
    [1.0, 1.0, 0.0, 0.0, 0.0, 0.0, 1.0, 1.0]
    """
    flat = [ops.convert_to_numpy(v.value).ravel() for v in _weights(model)]
    return np.concatenate([np.empty(0), *flat])


def load_flat_weights(model: Any, theta: ArrayLike) -> None:
    """Write a vector of `flat_weights` into the model, in place.

    Parameters
    ----------
    model : keras.Model
        Built.
    theta : array_like of float, shape (p,)
        Its weights, rounded to their own dtypes.

    Raises
    ------
    ValueError
        `theta` has another shape.

    Examples
    --------
    >>> import keras
    >>> from ted_keras.analysis import flat_weights, load_flat_weights
    >>> model = keras.Sequential([keras.Input((2,)), keras.layers.Dense(1)])
    >>> load_flat_weights(model, [1.0, 2.0, 3.0])
    >>> flat_weights(model).tolist()
    [1.0, 2.0, 3.0]
    """
    weights = _weights(model)
    vector = np.asarray(theta, np.float64)
    sizes = [int(np.prod(weight.shape)) for weight in weights]
    if vector.shape != (sum(sizes),):
        msg = f"`theta` must have shape ({sum(sizes)},), got shape {vector.shape}"
        raise ValueError(msg)
    parts = np.split(vector, np.cumsum(sizes)[:-1])
    for weight, part in zip(weights, parts, strict=True):
        weight.assign(part.reshape(weight.shape))


def _batches(x: Any, y: Any, batch_size: int) -> Iterator[tuple[Any, Any]]:
    """Yield the inputs and targets of each batch."""
    if len(x) != len(y):
        msg = f"`y` must have {len(x)} rows like `x`, got {len(y)}"
        raise ValueError(msg)
    for start in range(0, len(x), batch_size):
        part = slice(start, start + batch_size)
        yield ops.convert_to_tensor(x[part]), ops.convert_to_tensor(y[part])


def _losses(call: Callable[[Any], Any], x: Any, y: Any, loss: _Loss) -> Any:
    """Return the losses of one batch, (B,)."""
    losses = loss(y, call(x))
    if tuple(losses.shape)[:1] != tuple(y.shape)[:1]:
        msg = (
            f"`loss` must return shape ({y.shape[0]}, ...), one row for each sample, "
            f"got {tuple(losses.shape)}"
        )
        raise ValueError(msg)
    return ops.mean(ops.reshape(losses, (losses.shape[0], -1)), axis=1)


def _weights(model: Any) -> list[Any]:
    return [v for v in model.weights if backend.is_float_dtype(v.dtype)]
