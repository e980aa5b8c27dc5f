"""The mask gradient, read in the one backward that trains the network."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from ted_torch._validation import check_gradients, check_unchanged, version_of
from ted_torch.buffer import EpochBuffer, Slots

__all__ = ["inner_product", "mask_gradient", "new_cotangent", "record", "tap"]


def mask_gradient(hidden: Tensor, gradient: Tensor, loss_gradient: Tensor) -> Tensor:
    r"""Return each sample's mask gradient, ``|<h_k, g_k> / c_k|`` (Eq. 12).

    Parameters
    ----------
    hidden : Tensor of float, shape (B, ...)
        The masked tensor h.
    gradient : Tensor of float, shape (B, ...)
        g, gradient of the total loss with respect to `hidden`.
    loss_gradient : Tensor of float, shape (B,)
        c_k, gradient of the same total with respect to the loss of sample k.

    Returns
    -------
    Tensor of float32 or float64, shape (B,)
        Values of the unscaled per-sample losses; NaN where c_k is 0.

    Raises
    ------
    TypeError
        One of them is no floating tensor.
    ValueError
        The shapes do not match.

    Notes
    -----
    O(size of `hidden`); half precision accumulates in float32. The numbers are
    those of :func:`ted_core.mask_gradient`, in operations that ``torch.compile``
    takes into a full graph.

    References
    ----------
    J. Xiao, P. Li, J. Nie, TED: Accelerate Model Training by Internal
    Generalization, ECAI 2024, Eq. 12.

    Examples
    --------
    >>> import torch
    >>> from ted_torch import mask_gradient
    >>> h, g = torch.tensor([[1.0, 2.0]]), torch.tensor([[0.5, -1.0]])
    >>> mask_gradient(h, g, torch.tensor([0.5])).tolist()
    [3.0]
    """
    check_gradients(hidden, gradient, loss_gradient)
    c = loss_gradient.to(_wide(hidden))
    return torch.where(c == 0, torch.nan, (inner_product(hidden, gradient) / c).abs())


def inner_product(hidden: Tensor, gradient: Tensor) -> Tensor:
    """Return <h_k, g_k> of each sample.

    Parameters
    ----------
    hidden : Tensor of float, shape (B, ...)
        The masked tensor h.
    gradient : Tensor of float, shape (B, ...)
        g, gradient of the total loss with respect to `hidden`.

    Returns
    -------
    Tensor of float32 or float64, shape (B,)
        Inner products over all axes but the first, float64 for float64 tensors.
    """
    kind = _wide(hidden)
    # The other operand is widened inside the product.
    products = hidden.to(kind) * gradient
    return products.flatten(1).sum(1) if products.ndim > 1 else products


def new_cotangent(like: Tensor, *shape: int) -> Tensor:
    """Return zeros to take c_k: in float64 if `like` is, else in float32.

    Parameters
    ----------
    like : Tensor of float
        Gives precision and device.
    *shape : int
        (B,), or (m, B) for a sequence of m masks.

    Returns
    -------
    Tensor of float32 or float64
        Zeros: a batch without backward observes nothing.
    """
    return torch.zeros(shape, dtype=_wide(like), device=like.device)


def tap(losses: Tensor, cotangent: Tensor) -> Tensor:
    """Return the losses unchanged; their gradient will be copied in the backward.

    Parameters
    ----------
    losses : Tensor of float, shape (B,)
        One loss a sample.
    cotangent : Tensor of float, shape (B,) or (m, B)
        Takes c_k, before any gradient upstream of `losses` is there.

    Returns
    -------
    Tensor of float, shape (B,)
        `losses`, to be reduced to the total.
    """
    tapped = losses.view_as(losses)

    def hook(grad: Tensor) -> None:
        cotangent.copy_(grad.detach())

    tapped.register_hook(hook)  # type: ignore[no-untyped-call]
    return tapped


def record(
    mask: Tensor | Sequence[Tensor],
    slots: Slots,
    cotangent: Tensor,
    buffer: EpochBuffer,
) -> None:
    """Have the coming backward record the mask gradients at a tensor.

    Parameters
    ----------
    mask : Tensor of float, shape (B, ...), or sequence of them
        Tensor of the forward pass at which the mask stands; it requires a gradient.
        In a sequence one mask stands at all of them: the inner products add up.
    slots : Tensor of int64, shape (B,), or sequence of pairs (slots, weights)
        What ``buffer.slots`` returned for the batch's ids.
    cotangent : Tensor of float, shape (B,), or (m, B) for a sequence of m
        Given to :func:`tap` with the same batch's losses; set to 0 when used.
    buffer : EpochBuffer
        Takes the values.

    Raises
    ------
    ValueError
        In the backward: `mask` was changed in place. A compiled step can't tell.

    Notes
    -----
    One hook on each tensor, which keeps no reference to its graph. The gradient at
    `mask` is that of the whole total: a second loss added to it counts too. A
    sample with c_k = 0 is not observed.
    """
    if isinstance(mask, Tensor):
        _hook(mask, slots, cotangent, buffer, None, counts=True)
        return
    total = torch.zeros_like(cotangent[0])
    for place, part in enumerate(mask):
        _hook(part, slots, cotangent[place], buffer, total, counts=place == 0)


def _hook(
    mask: Tensor,
    slots: Slots,
    cotangent: Tensor,
    buffer: EpochBuffer,
    total: Tensor | None,
    *,
    counts: bool,
) -> None:
    hidden = mask.detach()
    version = version_of(hidden)

    def hook(grad: Tensor) -> None:
        check_unchanged(hidden, version)
        with torch.no_grad():
            seen = cotangent != 0
            part = torch.where(seen, inner_product(hidden, grad) / cotangent, 0.0)
            # A later backward of another loss through the mask is no observation.
            cotangent.zero_()
            if total is None:
                values = part.abs()
            else:
                # The hooks run in the graph's order: each adds what it changes.
                before = total.abs()
                values = total.add_(part).abs() - before
            buffer.add(slots, values, seen if counts else torch.zeros_like(seen))

    mask.register_hook(hook)  # type: ignore[no-untyped-call]


def _wide(tensor: Tensor) -> torch.dtype:
    return torch.float64 if tensor.dtype == torch.float64 else torch.float32
