"""How far the probabilities are from the label: EL2N and GraNd (Paul et al. 2021)."""

from __future__ import annotations

from ted_core._arrays import Array, namespace, quiet
from ted_core._checks import check_bool
from ted_core.signals import _formulas
from ted_core.signals._door import as_hidden, as_labels, as_logits

__all__ = ["el2n", "grand"]


def el2n(logits: Array, labels: Array) -> Array:
    r"""Return ``|p - y|_2``, the norm of the error of the probabilities.

    p is the softmax of the logits and y the label; it is also the norm of the
    gradient of softmax cross entropy at the logits.

    Parameters
    ----------
    logits : array of floating point, shape (B, C)
        Unnormalised class scores.
    labels : array
        Class indices (int, shape (B,)), or one-hot or soft labels, at least 0 (any real
        dtype, shape of `logits`). Indices outside [0, C) give NaN, no observation.
        Soft labels that sum to S give ``|S p - y|_2``.

    Returns
    -------
    array of float32 or float64, shape (B,)
        In [0, sqrt(2)] for labels that sum to one; on the device of `logits`,
        without a graph. High is kept: the sample is wrong, or not yet sure.

    Raises
    ------
    TypeError
        An argument is no array, has the wrong dtype or another library.
    ValueError
        Shapes do not match, or there is no class.

    Notes
    -----
    O(size of `logits`). With indices and one-hot labels ``1 - p_y`` is summed from the
    other classes, so that solved samples keep their order down to the smallest float.
    The paper averages over runs, early in training: see :class:`ted_core.Mean`.

    References
    ----------
    M. Paul, S. Ganguli, G. K. Dziugaite, Deep learning on a data diet: finding
    important examples early in training, NeurIPS 2021, Definition 2.2.

    Examples
    --------
    >>> import numpy as np
    >>> from ted_core.signals import el2n
    >>> logits = np.array([[2.0, 0.0], [0.0, 0.0]])
    >>> el2n(logits, np.array([1, 0])).round(3).tolist()
    [1.246, 0.707]
    """
    z = as_logits(logits)
    xp = namespace(logits=z)
    with quiet(xp):
        return _formulas.el2n(xp, z, as_labels(z, labels))


def grand(logits: Array, labels: Array, hidden: Array, *, bias: bool = True) -> Array:
    r"""Return ``|p - y| |(h, 1)|``, the norm of the gradient in the last layer.

    For a linear head z = W h + b and softmax cross entropy the gradient in W is
    (p - y) h', that in b is p - y, so the norm of both together is a product.

    Parameters
    ----------
    logits : array of floating point, shape (B, C)
        Output z of the head.
    labels : array
        Class indices or soft labels, as :func:`el2n` takes them.
    hidden : array of floating point, shape (B, D)
        Input h of the head.
    bias : bool, default True
        Whether the head has a bias; without one it is ``|p - y| |h|``.

    Returns
    -------
    array of float32 or float64, shape (B,)
        At least 0, without a graph. High is kept.

    Raises
    ------
    TypeError
        An argument is no array, has the wrong dtype or another library.
    ValueError
        Shapes do not match, or there is no class.

    Notes
    -----
    O(size of `logits` + size of `hidden`). The paper's score is the norm of the
    gradient in all weights, averaged over initial weights; this is its last layer, from
    the forward pass alone, exact for a linear head and unsmoothed labels.

    References
    ----------
    M. Paul, S. Ganguli, G. K. Dziugaite, Deep learning on a data diet: finding
    important examples early in training, NeurIPS 2021, Definition 2.1.
    A. Katharopoulos, F. Fleuret, Not all samples are created equal: deep learning with
    importance sampling, ICML 2018 (the last layer as a bound).

    Examples
    --------
    >>> import numpy as np
    >>> from ted_core.signals import grand
    >>> logits, hidden = np.array([[0.0, 0.0]]), np.array([[2.0, 2.0]])
    >>> grand(logits, np.array([1]), hidden).round(3).tolist()
    [2.121]
    """
    z = as_logits(logits)
    h = as_hidden(z, hidden)
    xp, biased = namespace(logits=z), check_bool("bias", bias)
    with quiet(xp):
        return _formulas.grand(xp, z, as_labels(z, labels), h, bias=biased)
