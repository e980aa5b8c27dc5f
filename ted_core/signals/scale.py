"""Values of one step on a common scale, so that early and late steps compare."""

from __future__ import annotations

from ted_core._arrays import Array, as_floating, namespace, quiet

__all__ = ["normalize"]


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
    TypeError
        `values` is no array or not real floating point.
    ValueError
        `values` has no axis.

    Notes
    -----
    Ours, not from the paper. The mean depends on who shares the step: the value of a
    sample is noisier the smaller the batch, and 1 for a batch of one. O(B).

    Examples
    --------
    >>> import numpy as np
    >>> from ted_core.signals import normalize
    >>> normalize(np.array([1.0, 2.0, 3.0])).tolist()
    [0.5, 1.0, 1.5]
    """
    v = as_floating("values", values)
    xp = namespace(values=v)
    with quiet(xp):
        finite = xp.isfinite(v)
        total = xp.sum(xp.where(finite, xp.abs(v), xp.zeros_like(v)))
        count = xp.sum(xp.astype(finite, v.dtype))
        mean = total / xp.where(count == 0, xp.ones_like(count), count)
        return v / xp.where(mean == 0, xp.ones_like(mean), mean)
