"""From probabilities back to logits, for models that end in a softmax or sigmoid.

The mask gradient on softmax probabilities is the constant -1 for cross entropy and
ranks nothing; on the logits behind them it is informative.
"""

from __future__ import annotations

from typing import Literal

from ted_core._arrays import Array, as_floating, check_same_shape, namespace, quiet

__all__ = ["logit_gradient_from_probabilities", "logits_from_probabilities"]

_Activation = Literal["softmax", "sigmoid"]


def logits_from_probabilities(
    probabilities: Array, *, activation: _Activation = "softmax"
) -> Array:
    r"""Return logits z that give `probabilities` (the site of Eq. 12 at the logits).

    ``z = log p`` for a softmax (the model's logits up to a constant for each sample,
    which no mask gradient sees) and ``z = log p - log(1 - p)`` for a sigmoid.

    Parameters
    ----------
    probabilities : array of floating point, shape (B, ..., C) or any for a sigmoid
        Outputs in [0, 1], classes last.
    activation : {"softmax", "sigmoid"}, default "softmax"
        What made the probabilities.

    Returns
    -------
    array of float32 or float64, shape of `probabilities`
        Finite logits: 0 counts as the smallest normal number, and 1 (of a sigmoid)
        as the number before it. Half precision returns float32.

    Raises
    ------
    TypeError
        `probabilities` is no array or not floating point.
    ValueError
        `activation` is unknown, or there is no class axis.

    Notes
    -----
    O(size of `probabilities`), elementwise, nothing read back from the device.
    Values outside [0, 1] are not looked for; above 1 they have no meaning.

    References
    ----------
    J. Xiao, P. Li, J. Nie, TED: Accelerate Model Training by Internal
    Generalization, ECAI 2024, Eq. 12.

    Examples
    --------
    >>> import numpy as np
    >>> from ted_core.importance import logits_from_probabilities
    >>> p = np.array([[0.25, 0.75]])
    >>> logits_from_probabilities(p).round(3).tolist()
    [[-1.386, -0.288]]
    >>> logits_from_probabilities(p, activation="sigmoid").round(3).tolist()
    [[-1.099, 1.099]]
    """
    softmax = _is_softmax(activation)
    p = as_floating("probabilities", probabilities, minimum_ndim=2 if softmax else 1)
    xp = namespace(probabilities=p)
    info = xp.finfo(p.dtype)
    smallest = xp.full_like(p, float(info.smallest_normal))
    p = xp.where(p < smallest, smallest, p)
    if softmax:
        return xp.log(p)
    largest = xp.full_like(p, 1 - float(info.eps) / 2)
    p = xp.where(p > largest, largest, p)
    return xp.log(p) - xp.log1p(-p)


def logit_gradient_from_probabilities(
    probabilities: Array, gradient: Array, *, activation: _Activation = "softmax"
) -> Array:
    r"""Return dl/dz from dl/dp, the gradient at the logits (for Eq. 12).

    ``p_j (g_j - <p, g>)`` for a softmax, ``g p (1 - p)`` for a sigmoid.

    Parameters
    ----------
    probabilities : array of floating point, shape (B, ..., C) or any for a sigmoid
        Outputs p in [0, 1], classes last.
    gradient : array of floating point, shape of `probabilities`
        Gradient g of the loss with respect to `probabilities`.
    activation : {"softmax", "sigmoid"}, default "softmax"
        What made the probabilities.

    Returns
    -------
    array of float32 or float64, shape of `probabilities`
        Gradient of the loss with respect to the logits; half precision returns
        float32.

    Raises
    ------
    TypeError
        An argument is no array, not floating point or of another library.
    ValueError
        Shapes do not match, `activation` is unknown, or there is no class axis.

    Notes
    -----
    O(size of `probabilities`), nothing read back from the device.

    References
    ----------
    J. Xiao, P. Li, J. Nie, TED: Accelerate Model Training by Internal
    Generalization, ECAI 2024, Eq. 12.

    Examples
    --------
    >>> import numpy as np
    >>> from ted_core.importance import logit_gradient_from_probabilities
    >>> p = np.array([[0.25, 0.75]])
    >>> gradient = np.array([[0.0, -1 / 0.75]])  # cross entropy of class 1
    >>> logit_gradient_from_probabilities(p, gradient).round(3).tolist()
    [[0.25, -0.25]]
    """
    softmax = _is_softmax(activation)
    ndim = 2 if softmax else 1
    p = as_floating("probabilities", probabilities, minimum_ndim=ndim)
    g = as_floating("gradient", gradient, minimum_ndim=ndim)
    xp = namespace(probabilities=p, gradient=g)
    check_same_shape("gradient", g, p.shape, "`probabilities`")
    with quiet(xp):
        if softmax:
            return p * (g - xp.sum(p * g, axis=-1, keepdims=True))
        return g * p * (1 - p)


def _is_softmax(activation: str) -> bool:
    if activation not in ("softmax", "sigmoid"):
        msg = f"`activation` must be 'softmax' or 'sigmoid', got {activation!r}"
        raise ValueError(msg)
    return activation == "softmax"
