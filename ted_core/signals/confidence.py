"""How unsure a prediction is, whatever the label: margin and least confidence."""

from __future__ import annotations

from ted_core._arrays import Array, namespace, quiet
from ted_core.signals import _formulas
from ted_core.signals._door import as_logits

__all__ = ["least_confidence", "margin"]


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
    TypeError
        `logits` is no array or not real floating point.
    ValueError
        `logits` has another shape, or fewer than two classes.

    Notes
    -----
    O(size of `logits`). The label plays no part: a sample that is surely wrong scores
    as low as one that is surely right. Small values keep all their digits.

    References
    ----------
    T. Scheffer, C. Decomain, S. Wrobel, Active hidden Markov models for information
    extraction, IDA 2001.
    C. Coleman et al., Selection via proxy: efficient data selection for deep learning,
    ICLR 2020.

    Examples
    --------
    >>> import numpy as np
    >>> from ted_core.signals import margin
    >>> margin(np.log([[0.7, 0.2, 0.1], [0.5, 0.5, 0.0001]])).round(3).tolist()
    [0.5, 1.0]
    """
    z = as_logits(logits, classes=2)
    xp = namespace(logits=z)
    with quiet(xp):
        return _formulas.margin(xp, z)


def least_confidence(logits: Array) -> Array:
    r"""Return ``1 - p_(1)``, what the best class leaves to the others.

    Parameters
    ----------
    logits : array of floating point, shape (B, C)
        Unnormalised class scores.

    Returns
    -------
    array of float32 or float64, shape (B,)
        In [0, 1 - 1/C], without a graph. High is kept: no class is likely.

    Raises
    ------
    TypeError
        `logits` is no array or not real floating point.
    ValueError
        `logits` has another shape, or no class.

    Notes
    -----
    O(size of `logits`). The label plays no part. Small values keep all their digits.

    References
    ----------
    D. D. Lewis, W. A. Gale, A sequential algorithm for training text classifiers,
    SIGIR 1994.
    C. Coleman et al., Selection via proxy: efficient data selection for deep learning,
    ICLR 2020.

    Examples
    --------
    >>> import numpy as np
    >>> from ted_core.signals import least_confidence
    >>> least_confidence(np.log([[0.7, 0.2, 0.1]])).round(3).tolist()
    [0.3]
    """
    z = as_logits(logits)
    xp = namespace(logits=z)
    with quiet(xp):
        return _formulas.least_confidence(xp, z)
