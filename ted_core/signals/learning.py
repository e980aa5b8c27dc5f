"""How well a sample is learnt: its loss, and whether it was forgotten."""

from __future__ import annotations

from ted_core._arrays import Array, namespace, quiet
from ted_core.signals import _formulas
from ted_core.signals._door import as_labels, as_logits, as_losses

__all__ = ["forgetting", "loss"]


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
    TypeError
        `losses` is no array or not real floating point.
    ValueError
        `losses` has another shape, a mean over the batch among them.

    Notes
    -----
    The identity. Of a sequence or an image it is the mean over what is not ignored.

    References
    ----------
    J. Xiao, P. Li, J. Nie, TED: Accelerate Model Training by Internal
    Generalization, ECAI 2024, Table 6 (TED based on loss).

    Examples
    --------
    >>> import numpy as np
    >>> from ted_core.signals import loss
    >>> loss(np.array([0.5, 2.0])).tolist()
    [0.5, 2.0]
    """
    return as_losses(losses)


def forgetting(logits: Array, labels: Array) -> Array:
    r"""Return 1 where the prediction is right now, else 0: what forgetting counts.

    A forgetting event is a 0 after a 1. :class:`ted_core.Count` turns the values of the
    epochs into the number of events, and ranks samples that were never right first;
    no other reduction makes sense of them.

    Parameters
    ----------
    logits : array of floating point, shape (B, C)
        Unnormalised class scores.
    labels : array
        Class indices (int, shape (B,)), or one-hot or soft labels (any real dtype,
        shape of `logits`), whose largest share is the class. Indices outside [0, C)
        and labels of zeros give NaN, no observation.

    Returns
    -------
    array of float32 or float64, shape (B,)
        1 where the label's logit is above all others, 0 where it is not, a tie
        among them; NaN where a logit is.

    Raises
    ------
    TypeError
        An argument is no array, has the wrong dtype or another library.
    ValueError
        Shapes do not match, or there is no class.

    Notes
    -----
    O(size of `logits`). A sample that is not visited in an epoch neither learns nor
    forgets: the count goes on from its last visit.

    References
    ----------
    M. Toneva et al., An empirical study of example forgetting during deep neural
    network learning, ICLR 2019.

    Examples
    --------
    >>> import numpy as np
    >>> from ted_core.signals import forgetting
    >>> forgetting(np.array([[2.0, 0.0], [2.0, 0.0]]), np.array([0, 1])).tolist()
    [1.0, 0.0]
    """
    z = as_logits(logits)
    xp = namespace(logits=z)
    with quiet(xp):
        return _formulas.forgetting(xp, z, as_labels(z, labels))
