"""The mask gradient, read in the one backward that trains the network."""

from __future__ import annotations

import torch
from torch import Tensor

from ted_torch._doors import check_unchanged, version_of
from ted_torch.buffers import EpochBuffer

__all__ = ["mask_gradient", "new_cotangent", "record", "tap"]


def mask_gradient(hidden: Tensor, gradient: Tensor, loss_gradient: Tensor) -> Tensor:
    r"""Return each sample's mask gradient, |<h_k, g_k> / c_k| (Eq. 12).

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
    kind = torch.float64 if hidden.dtype == torch.float64 else torch.float32
    products = hidden.to(kind) * gradient.to(kind)
    inner = products.flatten(1).sum(1) if products.ndim > 1 else products
    c = loss_gradient.to(kind)
    return torch.where(c == 0, torch.nan, (inner / c).abs())


def new_cotangent(slots: Tensor, like: Tensor) -> Tensor:
    """Return zeros to take c_k: in float64 if `like` is, else in float32.

    Parameters
    ----------
    slots : Tensor of int64, shape (B,)
        Gives shape and device.
    like : Tensor of float
        Gives the precision.

    Returns
    -------
    Tensor of float32 or float64, shape (B,)
        Zeros: a batch without backward observes nothing.
    """
    kind = torch.float64 if like.dtype == torch.float64 else torch.float32
    return torch.zeros(slots.shape, dtype=kind, device=slots.device)


def tap(losses: Tensor, cotangent: Tensor) -> Tensor:
    """Return the losses unchanged; their gradient will be copied in the backward.

    Parameters
    ----------
    losses : Tensor of float, shape (B,)
        One loss a sample.
    cotangent : Tensor of float, shape (B,)
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


def record(mask: Tensor, slots: Tensor, cotangent: Tensor, buffer: EpochBuffer) -> None:
    """Have the coming backward record the mask gradients at a tensor.

    Parameters
    ----------
    mask : Tensor of float, shape (B, ...)
        Tensor of the forward pass at which the mask stands; it requires a gradient.
    slots : Tensor of int64, shape (B,)
        What ``buffer.slots`` returned for the batch's ids.
    cotangent : Tensor of float, shape (B,)
        Given to :func:`tap` with the same batch's losses.
    buffer : EpochBuffer
        Takes the values.

    Raises
    ------
    ValueError
        In the backward: `mask` was changed in place. A compiled step can't tell.

    Notes
    -----
    One hook on `mask`, which keeps no reference to its graph. The gradient at
    `mask` is that of the whole total: a second loss added to it counts too. A
    sample with c_k = 0 is not observed.
    """
    hidden = mask.detach()
    version = version_of(hidden)

    def hook(grad: Tensor) -> None:
        check_unchanged(hidden, version)
        with torch.no_grad():
            values = mask_gradient(hidden, grad, cotangent)
            buffer.add(slots, values, cotangent != 0)

    mask.register_hook(hook)  # type: ignore[no-untyped-call]
