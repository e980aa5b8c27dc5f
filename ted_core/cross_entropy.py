"""The mask gradient of softmax cross entropy on its logits, in closed form."""

from __future__ import annotations

from typing import Any

from ted_core._arrays import (
    Array,
    as_floating,
    as_index,
    check_same_shape,
    dtype_name,
    namespace,
    per_sample,
    quiet,
    sum_features,
)
from ted_core._checks import check_int, check_real

__all__ = ["cross_entropy_mask_gradient"]


def cross_entropy_mask_gradient(
    logits: Array,
    labels: Array,
    *,
    signed: bool = False,
    label_smoothing: float = 0.0,
    ignore_index: int | None = None,
) -> Array:
    r"""Return ``|sum_j z_j (p_j - y_j)|``, the mask gradient at the logits (Eq. 12).

    The value of :func:`mask_gradient` on the logits of softmax cross entropy, from
    the forward pass alone.

    Parameters
    ----------
    logits : array of floating point, shape (B, C) or (B, T, C)
        Unnormalised class scores z, classes last; any number of token axes.
    labels : array
        Class indices (int, shape (B,) or (B, T)), or one-hot or soft labels
        (any real dtype, shape of `logits`) with the loss ``-sum_j y_j log p_j``.
        Indices outside [0, C) give NaN; a row of zeros is an ignored token.
    signed : bool, default False
        Return ``-sum_j z_j (p_j - y_j)``, high is kept.
    label_smoothing : float, default 0.0
        Share of each label spread evenly over the classes, in [0, 1).
    ignore_index : int, optional
        Class index of ignored tokens (-100 by convention). Only with class indices.

    Returns
    -------
    array of float32 or float64, shape (B,)
        Importance of each sample, on the device of `logits`, without a graph. That
        of a sequence belongs to the mean loss over its tokens that are not ignored;
        a sequence without any has the value 0.

    Raises
    ------
    TypeError
        An argument is no array, has the wrong dtype or another library.
    ValueError
        Shapes do not match, there is no class, `label_smoothing` is out of range, or
        `ignore_index` comes with one-hot or soft labels.

    Notes
    -----
    O(size of `logits`); scratch space of three arrays of the size of `logits`, in
    float32 for half precision. For a bias-free linear head ``z = W h`` the same number
    is the mask gradient at h, which is cheaper when h is narrower than z. With two
    classes and true-class margin m the value is ``|m| sigma(-m)``: zero at the
    decision boundary, with a second peak of 0.278 at m = 1.28.

    References
    ----------
    J. Xiao, P. Li, J. Nie, TED: Accelerate Model Training by Internal
    Generalization, ECAI 2024, Eq. 12.

    Examples
    --------
    >>> import numpy as np
    >>> from ted_core.importance import cross_entropy_mask_gradient
    >>> logits = np.array([[2.0, 0.0], [0.0, 0.0]])
    >>> cross_entropy_mask_gradient(logits, np.array([1, 0])).round(3).tolist()
    [1.762, 0.0]
    """
    z = as_floating("logits", logits, minimum_ndim=2)
    classes = int(z.shape[-1])
    if classes == 0:
        msg = f"`logits` must have at least one class, got shape {tuple(z.shape)}"
        raise ValueError(msg)
    smoothing = check_real(
        "label_smoothing", label_smoothing, low=0, high=1, closed="left"
    )
    if ignore_index is not None:
        ignore_index = check_int("ignore_index", ignore_index, minimum=-(2**31))
    xp = namespace(logits=z)
    with quiet(xp):
        if getattr(labels, "ndim", None) == z.ndim:
            if ignore_index is not None:
                msg = (
                    "`ignore_index` must be None with one-hot or soft labels, got "
                    f"{ignore_index}; mark an ignored token with a row of zeros"
                )
                raise ValueError(msg)
            tokens, valid = _from_soft(z, labels, smoothing)
        else:
            tokens, valid = _from_indices(z, labels, smoothing, ignore_index)
        tokens = xp.where(valid, tokens, xp.zeros_like(tokens))
        inner = sum_features(xp, tokens, 1)
        if tokens.ndim > 1:
            seen = sum_features(xp, xp.astype(valid, tokens.dtype), 1)
            inner = inner / xp.where(seen == 0, xp.ones_like(seen), seen)
        return per_sample(xp, inner, signed=signed)


def _from_indices(
    z: Array, labels: Array, smoothing: float, ignore_index: int | None
) -> tuple[Array, Array]:
    """Return the values (...,) of the tokens and which of them count."""
    index = as_index("labels", labels)
    xp = namespace(logits=z, labels=index)
    check_same_shape("labels", index, z.shape[:-1], "`logits` without its classes")
    classes = int(z.shape[-1])
    shifted, expected = _softmax_mean(xp, z)
    known = (index >= 0) & (index < classes)
    safe = xp.where(known, index, xp.zeros_like(index))
    true = xp.take_along_axis(shifted, safe[..., None], axis=-1)[..., 0]
    if smoothing:
        true = (1 - smoothing) * true + smoothing * xp.mean(shifted, axis=-1)
    tokens = expected - true
    tokens = xp.where(known, tokens, xp.full_like(tokens, float("nan")))
    if ignore_index is None:
        return tokens, xp.ones_like(known)
    return tokens, index != ignore_index


def _from_soft(z: Array, labels: Array, smoothing: float) -> tuple[Array, Array]:
    """Return the values (...,) of the tokens and which of them count."""
    xp = namespace(logits=z, labels=labels)
    name = dtype_name(labels)
    if name.startswith(("int", "uint", "bool")):
        y = xp.astype(labels, z.dtype)
    else:
        y = as_floating("labels", labels)
    check_same_shape("labels", y, z.shape, "`logits`")
    shifted, expected = _softmax_mean(xp, z)
    total = xp.sum(y, axis=-1)
    valid = total != 0
    if smoothing:
        y = (1 - smoothing) * y + smoothing / int(z.shape[-1]) * total[..., None]
    true = xp.sum(xp.where(y == 0, xp.zeros_like(y), y * shifted), axis=-1)
    return total * expected - true, valid


def _softmax_mean(xp: Any, z: Array) -> tuple[Array, Array]:
    """Return the logits below their maximum, and their mean under the softmax.

    The terms p_j - y_j sum to zero, so the maximum cancels in the result: what is
    left does not overflow and loses no digits to a common offset of the logits.
    """
    shifted = z - xp.max(z, axis=-1, keepdims=True)
    weight = xp.exp(shifted)
    terms = xp.where(weight == 0, xp.zeros_like(shifted), weight * shifted)
    return shifted, xp.sum(terms, axis=-1) / xp.sum(weight, axis=-1)
