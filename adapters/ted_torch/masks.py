"""The mask gradient, read in the one backward that trains the network."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import torch
from torch import Tensor

from ted_torch._losses import wide_dtype
from ted_torch._validation import check_unchanged, version_of
from ted_torch.buffer import EpochBuffer, Indices, mark_weightless

__all__ = ["record", "tap"]


# Numbers that are multiplied at once: on a CPU the products of a block stay in its
# cache, on a device no copy of all logits in float32 is made.
_BLOCK = {"cpu": 1 << 18}
_BLOCK_ELSEWHERE = 1 << 26


def inner_product(hidden: Tensor, gradient: Tensor) -> Tensor:
    """Return <h_k, g_k> of each sample, (B,), in float32 or float64."""
    block = _BLOCK.get(hidden.device.type, _BLOCK_ELSEWHERE)
    each = hidden[:1].numel()
    if hidden.ndim == 1:
        return _products(hidden, gradient)
    if hidden.numel() <= block or torch.compiler.is_compiling():
        return _products(hidden, gradient).flatten(1).sum(1)
    if each <= block:
        parts = _split(hidden, gradient, block // each)
        return torch.cat([_products(h, g).flatten(1).sum(1) for h, g in parts])
    rows = max(1, block * hidden.shape[1] // each)
    samples = (_split(h, g, rows) for h, g in zip(hidden, gradient, strict=True))
    return torch.stack(
        [torch.stack([_products(*part).sum() for part in one]).sum() for one in samples]
    )


def _products(hidden: Tensor, gradient: Tensor) -> Tensor:
    """Return the products; the gradient is widened inside of them."""
    return hidden.to(wide_dtype(hidden)) * gradient


def _split(
    hidden: Tensor, gradient: Tensor, rows: int
) -> Iterator[tuple[Tensor, Tensor]]:
    """Go through both by blocks of the first axis."""
    return zip(torch.split(hidden, rows), torch.split(gradient, rows), strict=True)


def new_loss_gradient(like: Tensor, *shape: int) -> Tensor:
    """Return zeros to take c_k: a batch without backward observes nothing."""
    return torch.zeros(shape, dtype=wide_dtype(like), device=like.device)


def tap(losses: Tensor, loss_gradient: Tensor) -> Tensor:
    """Return the losses unchanged; their gradient will be copied in the backward.

    Parameters
    ----------
    losses : Tensor of float, shape (B,)
        One loss a sample.
    loss_gradient : Tensor of float, shape (B,) or (m, B)
        Takes c_k, the gradient of the total with respect to the loss of sample k,
        before any gradient upstream of `losses` is there. Zeros, float32 or float64.

    Returns
    -------
    Tensor of float, shape (B,)
        `losses`, to be reduced to the total.

    Notes
    -----
    O(B). :func:`record` has an example.
    """
    tapped = losses.view_as(losses)

    def hook(grad: Tensor) -> None:
        loss_gradient.copy_(grad.detach())

    tapped.register_hook(hook)  # type: ignore[no-untyped-call]
    return tapped


def record(
    mask: Tensor | Sequence[Tensor],
    indices: Indices,
    loss_gradient: Tensor,
    buffer: EpochBuffer,
) -> None:
    r"""Have the coming backward record ``|<h_k, g_k> / c_k|`` at a tensor (Eq. 12).

    Parameters
    ----------
    mask : Tensor of float, shape (B, ...), or sequence of them
        Tensor of the forward pass at which the mask stands; it requires a gradient.
        In a sequence one mask stands at all of them: the inner products add up.
    indices : Tensor of int64, shape (B,), or sequence of pairs (indices, weights)
        What ``buffer.indices`` returned for the batch's ids.
    loss_gradient : Tensor of float, shape (B,), or (m, B) for a sequence of m
        Given to :func:`tap` with the same batch's losses; set to 0 when used.
    buffer : EpochBuffer
        Takes the values.

    Raises
    ------
    ValueError
        In the backward: `mask` was changed in place. A compiled step can't tell.

    Notes
    -----
    One hook on each tensor, which keeps no reference to its graph; O(size of `mask`)
    in the backward. The gradient at `mask` is that of the whole total: a second loss
    added to it counts too. A sample with c_k = 0 has weight 0.
    Source: TED, ECAI 2024, Eq. 12.

    Examples
    --------
    >>> import torch
    >>> from ted_torch import EpochBuffer, record, tap
    >>> buffer, c = EpochBuffer(3), torch.zeros(2)
    >>> h = torch.tensor([[1.0, 2.0], [3.0, 4.0]], requires_grad=True)
    >>> indices = buffer.indices(torch.tensor([2, 0]))
    >>> buffer.deliver(indices)
    >>> record(h, indices, c, buffer)
    >>> tap((h * h).sum(1), c).mean().backward()
    >>> buffer.sums.tolist()
    [50.0, 0.0, 10.0, 0.0]
    """
    if isinstance(mask, Tensor):
        _record_at(mask, indices, loss_gradient, buffer, None, counts=True)
        return
    total = torch.zeros_like(loss_gradient[0])
    for position, part in enumerate(mask):
        c = loss_gradient[position]
        _record_at(part, indices, c, buffer, total, counts=position == 0)


def _record_at(
    mask: Tensor,
    indices: Indices,
    loss_gradient: Tensor,
    buffer: EpochBuffer,
    total: Tensor | None,
    *,
    counts: bool,
) -> None:
    """Put the hook on one tensor; `total` adds up the inner products of several."""
    hidden = mask.detach()
    version = version_of(hidden)

    def hook(grad: Tensor) -> None:
        check_unchanged(hidden, version)
        with torch.no_grad():
            seen = loss_gradient != 0
            part = inner_product(hidden, grad) / loss_gradient
            part = torch.where(seen, part, 0.0)
            # A later backward of another loss through the mask is no observation.
            loss_gradient.zero_()
            if total is None:
                values = part.abs()
            else:
                # The hooks run in the graph's order: each adds what it changes.
                before = total.abs()
                values = total.add_(part).abs() - before
            buffer.add(indices, values, seen if counts else torch.zeros_like(seen))
            if counts:
                # A backward that did not pass the losses leaves 0 for all of them.
                mark_weightless(buffer, indices, ~seen & seen.any())

    mask.register_hook(hook)  # type: ignore[no-untyped-call]
