"""The mask gradient at the logits of softmax cross entropy, in closed form."""

from __future__ import annotations

from typing import Any

from array_api_compat import array_namespace, device

from ted_core._checks import check_real
from ted_core.importance import wide

__all__ = ["cross_entropy_mask_gradient"]


def cross_entropy_mask_gradient(
    logits: Any,
    labels: Any,
    *,
    label_smoothing: float = 0.0,
    ignore_index: int | None = None,
    signed: bool = False,
) -> Any:
    r"""Return |sum_j z_j (p_j - y_j)|, the mask gradient at the logits.

    Parameters
    ----------
    logits : array of float, shape (B, C) or (B, L, ..., C)
        Logits z of each sample, or of each of its tokens.
    labels : array, shape (B, ...) of int or (B, ..., C) of float
        Class indices, or one-hot or soft labels y.
    label_smoothing : float, default 0
        epsilon in [0, 1): y becomes (1 - epsilon) y + epsilon / C.
    ignore_index : int, optional
        Tokens with this class index take no part.
    signed : bool, default False
        Return -sum_j z_j (p_j - y_j) instead.

    Returns
    -------
    array of float32 or float64, shape (B,)
        A sequence's value is that of its own loss, the mean over its tokens that
        are not ignored; one of ignored tokens only counts 0.

    Raises
    ------
    ValueError, TypeError
        Shapes or dtypes do not fit, or `label_smoothing` is out of range, by name.

    Notes
    -----
    O(size of `logits`), on its device, without the host. Class indices are not
    checked there: one outside [0, C) counts as no class at all.

    References
    ----------
    J. Xiao, P. Li, J. Nie, TED: Accelerate Model Training by Internal
    Generalization, ECAI 2024, Eq. 12.

    Examples
    --------
    >>> import numpy as np
    >>> from ted_core import cross_entropy_mask_gradient
    >>> z = np.array([[0.0, 1.0], [0.0, 9.0]])
    >>> cross_entropy_mask_gradient(z, np.array([0, 1])).round(3).tolist()
    [0.731, 0.001]
    """
    smoothing = check_real(
        "label_smoothing", label_smoothing, low=0, high=1, closed="left"
    )
    try:
        xp = array_namespace(logits, labels)
    except TypeError as error:
        msg = (
            "`logits` and `labels` must be arrays of one library, got "
            f"{type(logits).__name__} and {type(labels).__name__}"
        )
        raise TypeError(msg) from error
    z = wide(xp, "logits", logits)
    shape = tuple(z.shape)
    if len(shape) < 2 or shape[-1] == 0:  # noqa: PLR2004 - batch and classes
        msg = f"`logits` must have shape (B, ..., C) with C >= 1, got shape {shape}"
        raise ValueError(msg)
    classes = shape[-1]
    used = None
    if xp.isdtype(labels.dtype, "integral") and tuple(labels.shape) == shape[:-1]:
        names = xp.arange(classes, dtype=labels.dtype, device=device(labels))
        y = xp.astype(labels[..., None] == names, z.dtype)
        if ignore_index is not None:
            used = xp.astype(labels != ignore_index, z.dtype)
    elif tuple(labels.shape) == shape:
        y = xp.astype(labels, z.dtype)
    else:
        msg = (
            f"`labels` must be integers of shape {shape[:-1]} or of shape {shape}, got "
            f"{labels.dtype} of shape {tuple(labels.shape)}"
        )
        raise ValueError(msg)
    if smoothing:
        y = (1 - smoothing) * y + smoothing / classes
    shifted = z - xp.max(z, axis=-1, keepdims=True)
    exponents = xp.exp(shifted)
    p = exponents / xp.sum(exponents, axis=-1, keepdims=True)
    values = xp.sum(z * (p * xp.sum(y, axis=-1, keepdims=True) - y), axis=-1)
    values = _mean_over_tokens(xp, values, used)
    return -values if signed else xp.abs(values)


def _mean_over_tokens(xp: Any, values: Any, used: Any) -> Any:
    axes = tuple(range(1, values.ndim))
    if used is not None:
        values = xp.where(used > 0, values, xp.zeros_like(values))
        if not axes:
            return values
        count = xp.sum(used, axis=axes)
        ones = xp.ones_like(count)
        return xp.sum(values, axis=axes) / xp.where(count > 0, count, ones)
    return xp.mean(values, axis=axes) if axes else values
