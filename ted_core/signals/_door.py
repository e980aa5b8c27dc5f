"""What the signals of classifiers are given: logits, labels and hidden states."""

from __future__ import annotations

from array_api_compat import device

from ted_core._arrays import (
    Array,
    as_floating,
    as_index,
    check_same_shape,
    dtype_name,
    namespace,
)

__all__ = ["as_hidden", "as_labels", "as_logits", "as_losses"]


def as_losses(losses: Array) -> Array:
    """Return losses (B,)."""
    values = as_floating("losses", losses)
    if values.ndim != 1:
        msg = (
            f"`losses` must have shape (B,), got shape {tuple(values.shape)}; average "
            "those of tokens or pixels over each sample"
        )
        raise ValueError(msg)
    return values


def as_logits(logits: Array, classes: int = 1) -> Array:
    """Return logits (B, C) with at least `classes` classes."""
    z = as_floating("logits", logits, minimum_ndim=2)
    if z.ndim != 2:  # noqa: PLR2004 - samples and classes
        msg = (
            f"`logits` must have shape (B, C), got shape {tuple(z.shape)}; for tokens "
            "and pixels observe the loss or the mask gradient"
        )
        raise ValueError(msg)
    if z.shape[-1] < classes:
        noun = "class" if classes == 1 else "classes"
        msg = (
            f"`logits` must have at least {classes} {noun}, got shape {tuple(z.shape)}"
        )
        raise ValueError(msg)
    return z


def as_labels(z: Array, labels: Array) -> Array:
    """Return labels (B, C) in the dtype of z; NaN for a class out of range."""
    soft = getattr(labels, "ndim", None) == z.ndim
    y = labels if soft else as_index("labels", labels)
    xp = namespace(logits=z, labels=y)
    if soft:
        check_same_shape("labels", y, z.shape, "`logits`")
        real = dtype_name(y).startswith(("int", "uint", "bool"))
        return xp.astype(y if real else as_floating("labels", y), z.dtype)
    check_same_shape("labels", y, z.shape[:-1], "`logits` without its classes")
    classes = xp.arange(z.shape[-1], dtype=y.dtype, device=device(z))
    hot = classes[None, :] == y[:, None]
    known = xp.any(hot, axis=-1)[:, None]
    y = xp.astype(hot, z.dtype)
    return xp.where(known, y, xp.full_like(y, float("nan")))


def as_hidden(z: Array, hidden: Array) -> Array:
    """Return hidden states (B, D)."""
    h = as_floating("hidden", hidden, minimum_ndim=2)
    namespace(logits=z, hidden=h)
    shape = (z.shape[0], *h.shape[1:2])
    check_same_shape("hidden", h, shape, "`logits`, samples first")
    return h
