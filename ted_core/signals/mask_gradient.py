"""The mask gradient ``|<h_k, dl_k/dh_k>|`` of each sample (Eqs. 12 and 18)."""

from __future__ import annotations

from typing import Any

from array_api_compat import device

from ted_core._validation import check_bool, check_int, check_real, check_shape
from ted_core.signals import _formulas
from ted_core.signals._arrays import (
    as_floating,
    as_index,
    as_soft_labels,
    as_token_mask,
    namespace,
    quiet,
)
from ted_core.signals._formulas import Array

__all__ = ["cross_entropy_mask_gradient", "mask_gradient", "segment_mask_gradient"]


def cross_entropy_mask_gradient(
    logits: Array,
    labels: Array,
    *,
    signed: bool = False,
    label_smoothing: float = 0.0,
    ignore_index: int | None = None,
) -> Array:
    r"""Return ``|sum_j z_j (p_j - y_j)|``, the mask gradient at the logits (Eq. 12).

    That of softmax cross entropy, from the forward pass alone.

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
    TypeError, ValueError
        An argument is no array, has the wrong dtype, another library or a shape that
        does not fit, there is no class, `label_smoothing` is out of range, or
        `ignore_index` comes with one-hot or soft labels.

    Notes
    -----
    O(size of `logits`); scratch space of three arrays of that size, in float32 for half
    precision. For a bias-free linear head ``z = W h`` the mask gradient at h is the
    same number, cheaper when h is narrower than z. With two classes and true-class
    margin m the value is ``|m| sigma(-m)``: zero at the decision boundary, with a
    second peak of 0.278 at m = 1.28. Source: TED, ECAI 2024, Eq. 12.

    Examples
    --------
    >>> import numpy as np
    >>> from ted_core.signals.mask_gradient import cross_entropy_mask_gradient
    >>> logits = np.array([[2.0, 0.0], [0.0, 0.0]])
    >>> cross_entropy_mask_gradient(logits, np.array([1, 0])).round(3).tolist()
    [1.762, 0.0]
    """
    z = as_floating("logits", logits, minimum_ndim=2)
    if z.shape[-1] == 0:
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
        inner = _formulas.sum_features(xp, tokens, 1)
        if tokens.ndim > 1:
            seen = _formulas.sum_features(xp, xp.astype(valid, tokens.dtype), 1)
            inner = inner / xp.where(seen == 0, xp.ones_like(seen), seen)
        return _oriented(xp, inner, signed=signed)


def _from_indices(
    z: Array, labels: Array, smoothing: float, ignore_index: int | None
) -> tuple[Array, Array]:
    """Return the values (...,) of the tokens and which of them count."""
    index = as_index("labels", labels)
    xp = namespace(logits=z, labels=index)
    check_shape("labels", index, z.shape[:-1], " like `logits` without its classes")
    classes = int(z.shape[-1])
    below, mean = _formulas.below_max_and_mean(xp, z)
    known = (index >= 0) & (index < classes)
    safe = xp.where(known, index, xp.zeros_like(index))
    true = xp.take_along_axis(below, safe[..., None], axis=-1)[..., 0]
    if smoothing:
        true = (1 - smoothing) * true + smoothing * xp.mean(below, axis=-1)
    tokens = mean - true
    tokens = xp.where(known, tokens, xp.full_like(tokens, float("nan")))
    if ignore_index is None:
        return tokens, xp.ones_like(known)
    return tokens, index != ignore_index


def _from_soft(z: Array, labels: Array, smoothing: float) -> tuple[Array, Array]:
    """Return the values (...,) of the tokens and which of them count."""
    y = as_soft_labels(z, labels)
    xp = namespace(logits=z, labels=y)
    total = xp.sum(y, axis=-1)
    if smoothing:
        y = (1 - smoothing) * y + smoothing / int(z.shape[-1]) * total[..., None]
    return _formulas.label_products(xp, z, y), total != 0


def mask_gradient(
    hidden: Array,
    gradient: Array,
    *,
    loss_gradient: Array | None = None,
    token_mask: Array | None = None,
    signed: bool = False,
) -> Array:
    r"""Return each sample's mask gradient ``|<h_k, dl_k/dh_k>|`` (Eqs. 12 and 18).

    Multiplying sample k of `hidden` by a mask delta_k and differentiating its loss at
    delta_k = 1 gives the inner product of `hidden` and its gradient.

    Parameters
    ----------
    hidden, gradient : array of floating point, shape (B, ...)
        Tensor that is masked, one sample a row (input, embedding, feature or logits),
        and the gradient of the loss with respect to it.
    loss_gradient : array of floating point, shape (B,), optional
        What a sample's own loss is multiplied by inside the differentiated total,
        c_k = dL/dl_k: 1/B of a mean, 1/r_t, a mixed-precision loss scale, a weight.
        It is divided out; where it is 0 the sample was not observed and gets NaN.
        By default `gradient` is that of the sum of the per-sample losses, c_k = 1.
    token_mask : array of bool or int, shape (B, T, ...), optional
        False or 0 where a token is padding, over the leading axes of `hidden`. Padding
        contributes nothing, whatever it holds.
    signed : bool, default False
        Return ``-<h_k, dl_k/dh_k>`` (Eq. 9 with Eq. 11), high is kept.

    Returns
    -------
    array of float32 or float64, shape (B,)
        Importance of each sample, on the device of `hidden`, without a graph.
        Not-finite input gives a not-finite value for its own sample only.

    Raises
    ------
    TypeError, ValueError
        An argument is no array, has the wrong dtype, another library or a shape that
        does not fit, or there is no sample axis.

    Notes
    -----
    O(size of `hidden`); scratch space of one array of that size, and of two more in
    float32 for half precision. No value is read back from the device. Upstream of a
    layer that couples the batch (batch norm in training mode) the value is the mask
    gradient of the batch's loss. Source: TED, ECAI 2024, Eqs. 11, 12 and 18.

    Examples
    --------
    >>> import numpy as np
    >>> from ted_core.signals.mask_gradient import mask_gradient
    >>> hidden = np.array([[1.0, 2.0], [3.0, 4.0]])
    >>> gradient = np.array([[0.5, -1.0], [0.25, 0.0]])
    >>> mask_gradient(hidden, gradient).tolist()
    [1.5, 0.75]
    >>> mask_gradient(hidden, gradient, signed=True).tolist()
    [1.5, -0.75]
    >>> mask_gradient(hidden, gradient, loss_gradient=np.array([0.5, 0.0])).tolist()
    [3.0, nan]
    """
    h = as_floating("hidden", hidden)
    g = as_floating("gradient", gradient)
    xp = namespace(hidden=h, gradient=g)
    check_shape("gradient", g, h.shape, " like `hidden`")
    used = None
    if token_mask is not None:
        used = as_token_mask("token_mask", token_mask)
        namespace(hidden=h, token_mask=used)
        like = " like the first axes of `hidden`"
        check_shape("token_mask", used, h.shape[: used.ndim], like)
        used = xp.reshape(used, tuple(used.shape) + (1,) * (h.ndim - used.ndim))
    with quiet(xp):
        inner = _formulas.inner_products(xp, h, g, used=used)
        inner = _divide(h, inner, loss_gradient, "the first axis of `hidden`")
        return _oriented(xp, inner, signed=signed)


def segment_mask_gradient(
    hidden: Array,
    gradient: Array,
    segment_ids: Array,
    num_segments: int,
    *,
    loss_gradient: Array | None = None,
    signed: bool = False,
) -> Array:
    r"""Return the mask gradient of each sample of packed sequences (Eqs. 12 and 18).

    Several samples share a row, or several rows; each gets the inner product over its
    own tokens.

    Parameters
    ----------
    hidden, gradient : array of floating point, shape (B, T, ...)
        Tensor that is masked, and the gradient of the loss with respect to it.
    segment_ids : array of int, shape (B, T)
        Sample of each token, in [0, `num_segments`); -1 is padding. Values are not
        read back from the device: any id out of range counts as padding.
    num_segments : int
        Number S of samples, at least 0.
    loss_gradient, signed : array of floating point, shape (S,), and bool, optional
        As of :func:`mask_gradient`.

    Returns
    -------
    array of float32 or float64, shape (S,)
        Importance of each sample; 0 for one without tokens.

    Raises
    ------
    TypeError, ValueError
        As of :func:`mask_gradient`, or `num_segments` is negative.

    Notes
    -----
    O(size of `hidden` + B T S) time, in scratch space of S T numbers: portable and
    exact in order, for the samples of one step. Source: TED, ECAI 2024, Eqs. 12 and 18.

    Examples
    --------
    >>> import numpy as np
    >>> from ted_core.signals.mask_gradient import segment_mask_gradient
    >>> hidden = np.ones((1, 4, 2))
    >>> gradient = np.array([[[1.0, 1.0], [2.0, 0.0], [0.5, 0.0], [9.0, 9.0]]])
    >>> segment_mask_gradient(hidden, gradient, np.array([[0, 0, 1, -1]]), 2).tolist()
    [4.0, 0.5]
    """
    h = as_floating("hidden", hidden, minimum_ndim=2)
    g = as_floating("gradient", gradient, minimum_ndim=2)
    ids = as_index("segment_ids", segment_ids)
    xp = namespace(hidden=h, gradient=g, segment_ids=ids)
    check_shape("gradient", g, h.shape, " like `hidden`")
    check_shape("segment_ids", ids, h.shape[:2], " like the first axes of `hidden`")
    count = check_int("num_segments", num_segments, minimum=0)
    on = device(h)
    with quiet(xp):
        tokens = _formulas.inner_products(xp, h, g, kept=2)
        segments = xp.arange(count, dtype=ids.dtype, device=on)[:, None]
        inner = xp.zeros((count,), dtype=tokens.dtype, device=on)
        for row in range(h.shape[0]):
            own = ids[row, :][None, :] == segments
            values = xp.where(
                own, tokens[row, :][None, :], xp.zeros_like(inner)[:, None]
            )
            inner = inner + xp.sum(values, axis=1)
        inner = _divide(inner, inner, loss_gradient, "`num_segments`")
        return _oriented(xp, inner, signed=signed)


def _divide(h: Array, inner: Array, loss_gradient: Array | None, like: str) -> Array:
    """Divide by what each sample's loss is multiplied by; NaN where that is 0."""
    if loss_gradient is None:
        return inner
    c = as_floating("loss_gradient", loss_gradient)
    xp = namespace(hidden=h, loss_gradient=c)
    check_shape("loss_gradient", c, inner.shape, f" like {like}")
    return inner / xp.where(c == 0, xp.full_like(c, float("nan")), c)


def _oriented(xp: Any, inner: Array, *, signed: bool) -> Array:
    """Turn <h, dl/dh> into an importance: its magnitude, or its negative."""
    return -inner if check_bool("signed", signed) else xp.abs(inner)
