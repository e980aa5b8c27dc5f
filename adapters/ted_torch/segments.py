"""Rows that hold several samples: their masks and their losses, by segment."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from ted_core._validation import check_int
from ted_torch._losses import wide_dtype, widened
from ted_torch._validation import check_float, check_integers, check_range, check_valid

__all__ = ["segment_losses", "segment_mask"]

_MAX_SAMPLES = 2**31 - 1


def segment_mask(hidden: Tensor, segments: Tensor, count: int) -> tuple[Tensor, Tensor]:
    r"""Put one mask on each sample of packed rows; return rows and masks.

    Parameters
    ----------
    hidden : Tensor of float, shape (R, T, ...)
        Tensor of the forward pass, several samples in a row.
    segments : Tensor of int, shape (R, T)
        Sample of each token, in [0, `count`); -1 is padding. Nodes of a batch of
        graphs go as (1, T).
    count : int
        B, samples in the batch.

    Returns
    -------
    rows : Tensor of float, shape (R, T, ...)
        `hidden` with the same numbers: go on with it.
    delta : Tensor of float32 or float64, shape (B,)
        The masks delta_k = 1. Give them to ``ted.loss`` as ``mask=``: the gradient
        that reaches them is the sum of <h_t, g_t> over the tokens of sample k.

    Raises
    ------
    TypeError, ValueError
        A dtype or shape does not fit, `count` is no integer, or on the CPU a segment is
        out of range; on a device such a token counts for no sample.

    Notes
    -----
    O(size of `hidden`) in the backward, nothing in the forward; half precision
    accumulates in float32. No rows are taken apart, so that padding costs nothing.
    The mask must not be followed by an operation in place.
    Source: TED, ECAI 2024, Eq. 12.

    Examples
    --------
    >>> import torch
    >>> from ted_torch import segment_mask
    >>> hidden = torch.tensor([[[1.0], [2.0], [4.0]]], requires_grad=True)
    >>> rows, delta = segment_mask(hidden, torch.tensor([[0, 0, 1]]), 2)
    >>> (10 * rows).sum().backward()
    >>> delta.grad.tolist()
    [30.0, 40.0]
    """
    hidden = check_float("hidden", hidden)
    _check(segments, tuple(hidden.shape[:2]), "`hidden`", count)
    delta = torch.ones(count, dtype=wide_dtype(hidden), device=hidden.device)
    delta.requires_grad_()
    rows: Tensor = _Segments.apply(hidden, delta, _indices(segments, count))  # type: ignore[no-untyped-call]
    return rows, delta


def segment_losses(
    losses: Tensor, segments: Tensor, count: int, *, valid: Tensor | None = None
) -> Tensor:
    """Average the losses of packed rows to one a sample.

    Parameters
    ----------
    losses : Tensor of float, shape (R, T)
        Unreduced losses.
    segments, count : Tensor of int, shape (R, T), and int
        As of :func:`segment_mask`.
    valid : Tensor of bool, shape (R, T), optional
        Which losses count, for example those of response tokens. None means all
        that are no padding.

    Returns
    -------
    Tensor of float32 or float64, shape (B,)
        Mean over the valid losses of each sample, 0 if there are none: tell
        ``ted.loss`` of such samples by a `valid` of shape (B,).

    Raises
    ------
    TypeError, ValueError
        As of :func:`segment_mask`, `losses` in place of `hidden`.

    Notes
    -----
    O(R T). On a GPU the order of the sums, and so the last bits, may differ by run.

    Examples
    --------
    >>> import torch
    >>> from ted_torch import segment_losses
    >>> losses = torch.tensor([[1.0, 3.0, 5.0, 9.0]])
    >>> segment_losses(losses, torch.tensor([[0, 0, 1, -1]]), 2).tolist()
    [2.0, 5.0]
    """
    losses = check_float("losses", losses)
    _check(segments, tuple(losses.shape), "`losses`", count)
    indices = _indices(segments, count)
    if valid is not None:
        indices = torch.where(check_valid(valid, losses), indices, count)
    wide = torch.where(indices < count, widened(losses), 0.0).flatten()
    sums = wide.new_zeros(count + 1).index_add(0, indices.flatten(), wide)
    ones = torch.ones_like(wide)
    counts = wide.new_zeros(count + 1).index_add(0, indices.flatten(), ones)
    return sums[:count] / counts[:count].clamp(min=1)


class _Segments(torch.autograd.Function):
    """Rows unchanged; their backward adds up <h_t, g_t> by sample."""

    @staticmethod
    def forward(ctx: Any, hidden: Tensor, delta: Tensor, indices: Tensor) -> Tensor:
        ctx.save_for_backward(hidden, indices)
        ctx.delta = delta.dtype, delta.shape[0]
        return hidden.view_as(hidden)

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor, Tensor, None]:
        (grad,) = grads
        hidden, indices = ctx.saved_tensors
        kind, count = ctx.delta
        products = hidden.to(kind) * grad
        inner = products.flatten(2).sum(2) if products.ndim > 2 else products  # noqa: PLR2004
        sums = inner.new_zeros(count + 1)
        sums = sums.index_add(0, indices.flatten(), inner.flatten())
        return grad, sums[:count], None


def _indices(segments: Tensor, count: int) -> Tensor:
    """Return segments with one spare index for what belongs to no sample."""
    inside = (segments >= 0) & (segments < count)
    return torch.where(inside, segments, count).long()


def _check(value: object, shape: tuple[int, ...], like: str, count: int) -> None:
    """Refuse segments of another shape or dtype than those of packed rows."""
    segments = check_integers("segments", value)
    if len(shape) != 2 or tuple(segments.shape) != shape:  # noqa: PLR2004
        msg = (
            f"`segments` must have the shape (R, T) of {like}, {shape}, got shape "
            f"{tuple(segments.shape)}"
        )
        raise ValueError(msg)
    check_int("count", count, minimum=0, maximum=_MAX_SAMPLES)
    check_range("segments", segments, -1, count)
