"""Signals of classification: from losses, or from logits and labels."""

from __future__ import annotations

from collections.abc import Callable

from ted_core._validation import check_bool, check_shape
from ted_core.signals import _arrays, _formulas
from ted_core.signals._formulas import Array

__all__ = [
    "el2n",
    "forgetting",
    "grand",
    "least_confidence",
    "loss",
    "margin",
    "normalize",
]


def _from_logits(formula: Callable[..., Array], logits: Array, *labels: Array) -> Array:
    """Return the values of a formula of logits, and of labels where it takes them."""
    z = _arrays.as_logits(logits)
    xp = _arrays.namespace(logits=z)
    with _arrays.quiet(xp):
        return formula(xp, z, *[_arrays.as_labels(z, y) for y in labels])


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
    TypeError, ValueError
        An argument is no array of that dtype, or of another library than the others;
        shapes do not match, or there are fewer than 2 classes.

    Notes
    -----
    O(size of `logits`). Solved samples keep their order down to the smallest float. The
    paper averages over runs, early in training: see :class:`ted_core.Mean`.

    References
    ----------
    M. Paul et al., Deep learning on a data diet, NeurIPS 2021, Definition 2.2.

    Examples
    --------
    >>> import numpy as np
    >>> from ted_core.signals import el2n
    >>> logits = np.array([[2.0, 0.0], [0.0, 0.0]])
    >>> el2n(logits, np.array([1, 0])).round(3).tolist()
    [1.246, 0.707]
    """
    return _from_logits(_formulas.el2n, logits, labels)


def grand(logits: Array, labels: Array, hidden: Array, *, bias: bool = True) -> Array:
    r"""Return ``|p - y| |(h, 1)|``, the norm of the gradient in the last layer.

    For a linear head z = W h + b and softmax cross entropy the gradient in W is
    (p - y) h', that in b is p - y, so the norm of both together is a product.

    Parameters
    ----------
    logits, labels : array
        As :func:`el2n` takes and refuses them; the logits are the output z of the head.
    hidden : array of floating point, shape (B, D)
        Input h of the head.
    bias : bool, default True
        Whether the head has a bias; without one it is ``|p - y| |h|``.

    Returns
    -------
    array of float32 or float64, shape (B,)
        At least 0, without a graph. High is kept.

    Notes
    -----
    O(size of `logits` and `hidden`). The paper's score is the norm of the gradient in
    all weights, averaged over initial weights; this is its last layer, from the forward
    pass alone, exact for a linear head and unsmoothed labels.

    References
    ----------
    M. Paul et al., Deep learning on a data diet, NeurIPS 2021, Definition 2.1.
    A. Katharopoulos, F. Fleuret, Not all samples are created equal, ICML 2018.

    Examples
    --------
    >>> import numpy as np
    >>> from ted_core.signals import grand
    >>> logits, hidden = np.array([[0.0, 0.0]]), np.array([[2.0, 2.0]])
    >>> grand(logits, np.array([1]), hidden).round(3).tolist()
    [2.121]
    """
    z = _arrays.as_logits(logits)
    h = _arrays.as_floating("hidden", hidden, minimum_ndim=2)
    xp, biased = _arrays.namespace(logits=z, hidden=h), check_bool("bias", bias)
    shape = (z.shape[0], *h.shape[1:2])
    check_shape("hidden", h, shape, " like `logits`, samples first")
    with _arrays.quiet(xp):
        return _formulas.grand(xp, z, _arrays.as_labels(z, labels), h, bias=biased)


def margin(logits: Array) -> Array:
    r"""Return ``1 - (p_(1) - p_(2))``, the inverted margin of the two best classes.

    Parameters
    ----------
    logits : array of floating point, shape (B, C)
        Unnormalised class scores, at least two classes.

    Returns
    -------
    array of float32 or float64, shape (B,)
        In [0, 1], without a graph. High is kept: the two best classes are close.

    Raises
    ------
    TypeError, ValueError
        `logits` is no array, not real floating point, or of another shape.

    Notes
    -----
    O(size of `logits`). The label plays no part: a sample that is surely wrong scores
    as low as one that is surely right. Small values keep all their digits.

    References
    ----------
    T. Scheffer et al., Active hidden Markov models for information extraction, 2001.
    C. Coleman et al., Selection via proxy, ICLR 2020.

    Examples
    --------
    >>> import numpy as np
    >>> from ted_core.signals import margin
    >>> margin(np.log([[0.7, 0.2, 0.1], [0.5, 0.5, 0.0001]])).round(3).tolist()
    [0.5, 1.0]
    """
    return _from_logits(_formulas.margin, logits)


def least_confidence(logits: Array) -> Array:
    r"""Return ``1 - p_(1)``, what the best class leaves to the others.

    Parameters
    ----------
    logits : array of floating point, shape (B, C)
        As :func:`margin` takes and refuses them.

    Returns
    -------
    array of float32 or float64, shape (B,)
        In [0, 1 - 1/C], without a graph. High is kept: no class is likely.

    Notes
    -----
    O(size of `logits`). The label plays no part. Small values keep all their digits.

    References
    ----------
    D. Lewis, W. Gale, A sequential algorithm for training text classifiers, 1994.

    Examples
    --------
    >>> import numpy as np
    >>> from ted_core.signals import least_confidence
    >>> least_confidence(np.log([[0.7, 0.2, 0.1]])).round(3).tolist()
    [0.3]
    """
    return _from_logits(_formulas.least_confidence, logits)


def loss(losses: Array) -> Array:
    r"""Return the losses themselves, ``l_k``: TED based on loss.

    Parameters
    ----------
    losses : array of floating point, shape (B,)
        Loss of each sample, unscaled: no mean over the batch, no 1 / r_t.

    Returns
    -------
    array of float32 or float64, shape (B,)
        The same numbers without a graph, half precision as float32. High is kept.

    Raises
    ------
    TypeError, ValueError
        `losses` is no array, not real floating point, or of another shape.

    Notes
    -----
    The identity. A sequence's or an image's loss is the mean over what is not ignored.
    Source: TED, ECAI 2024, Table 6 (TED based on loss).

    Examples
    --------
    >>> import numpy as np
    >>> from ted_core.signals import loss
    >>> loss(np.array([0.5, 2.0])).tolist()
    [0.5, 2.0]
    """
    values = _arrays.as_floating("losses", losses)
    if values.ndim != 1:
        msg = (
            f"`losses` must have shape (B,), got shape {tuple(values.shape)}; average "
            "those of tokens or pixels over each sample"
        )
        raise ValueError(msg)
    return values


def forgetting(logits: Array, labels: Array) -> Array:
    r"""Return 1 where the prediction is right now, else 0: what forgetting counts.

    A forgetting event is a 0 after a 1. :class:`ted_core.Count` turns the values of the
    epochs into the number of events, and ranks samples that were never right first;
    no other reduction makes sense of them.

    Parameters
    ----------
    logits, labels : array
        As :func:`el2n` takes and refuses them. The largest share of a soft label is the
        class; labels of zeros give NaN, no observation.

    Returns
    -------
    array of float32 or float64, shape (B,)
        1 where the label's logit is above all others, 0 where it is not, a tie
        among them; NaN where a logit is.

    Notes
    -----
    O(size of `logits`). A sample that is not seen in an epoch neither learns nor
    forgets: the count goes on from when it was seen last.

    References
    ----------
    M. Toneva et al., An empirical study of example forgetting, ICLR 2019.

    Examples
    --------
    >>> import numpy as np
    >>> from ted_core.signals import forgetting
    >>> forgetting(np.array([[2.0, 0.0], [2.0, 0.0]]), np.array([0, 1])).tolist()
    [1.0, 0.0]
    """
    return _from_logits(_formulas.forgetting, logits, labels)


def normalize(values: Array) -> Array:
    r"""Divide the values of one step by their mean magnitude, ``v_k / mean |v|``.

    Within the first epoch early steps see larger values than late ones, whatever the
    sample; divided, samples are compared with those of their own step.

    Parameters
    ----------
    values : array of floating point, shape (B,)
        Values of one step of any signal.

    Returns
    -------
    array of float32 or float64, shape (B,)
        On the same device, without a graph; as they are if all of them are 0. A value
        that is not finite stays so, and does not count in the mean.

    Raises
    ------
    TypeError, ValueError
        `values` is no array, not real floating point, or has no axis.

    Notes
    -----
    Ours, not from the paper; 1 for a batch of one. O(B).

    Examples
    --------
    >>> import numpy as np
    >>> from ted_core.signals import normalize
    >>> normalize(np.array([1.0, 2.0, 3.0])).tolist()
    [0.5, 1.0, 1.5]
    """
    v = _arrays.as_floating("values", values)
    xp = _arrays.namespace(values=v)
    with _arrays.quiet(xp):
        finite = xp.isfinite(v)
        total = xp.sum(xp.where(finite, xp.abs(v), xp.zeros_like(v)))
        count = xp.sum(xp.astype(finite, v.dtype))
        mean = total / xp.where(count == 0, xp.ones_like(count), count)
        return v / xp.where(mean == 0, xp.ones_like(mean), mean)
