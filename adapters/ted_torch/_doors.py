"""Checks of one step's tensors; none of them waits for a device."""

from __future__ import annotations

import torch
from torch import Tensor

__all__ = [
    "check_graph",
    "check_ids",
    "check_mask",
    "check_unchanged",
    "version_of",
]


def check_graph(name: str, value: Tensor) -> None:
    """Refuse a tensor that no backward reaches."""
    if not value.requires_grad:
        msg = (
            f"`{name}` must have a graph, got a tensor that requires no gradient; call "
            "`loss` in training only, outside `torch.no_grad`"
        )
        raise ValueError(msg)


def check_mask(name: str, mask: object, size: int | None = None) -> None:
    """Refuse what is no floating tensor of `size` rows."""
    if not isinstance(mask, Tensor) or not mask.is_floating_point():
        found = getattr(mask, "dtype", type(mask).__name__)
        msg = f"`{name}` must be a floating-point tensor, got {found}"
        raise TypeError(msg)
    if mask.ndim == 0 or (size is not None and mask.shape[0] != size):
        first = "B" if size is None else size
        msg = f"`{name}` must have shape ({first}, ...), got shape {tuple(mask.shape)}"
        raise ValueError(msg)


def check_ids(ids: object, size: int, n: int) -> None:
    """Refuse ids of another shape or dtype, and on the CPU ids out of [0, n)."""
    if (
        not isinstance(ids, Tensor)
        or ids.is_floating_point()
        or ids.is_complex()
        or ids.dtype == torch.bool
    ):
        found = getattr(ids, "dtype", type(ids).__name__)
        msg = f"`ids` must be an integer tensor, got {found}"
        raise TypeError(msg)
    if tuple(ids.shape) != (size,):
        msg = f"`ids` must have shape ({size},), got shape {tuple(ids.shape)}"
        raise ValueError(msg)
    if ids.device.type != "cpu" or torch.compiler.is_compiling() or not size:
        return
    low, high = int(ids.min()), int(ids.max())
    if low < 0 or high >= n:
        msg = f"`ids` must be in [0, {n}), got {low if low < 0 else high}"
        raise ValueError(msg)


def version_of(tensor: Tensor) -> int:
    """Give how often a tensor's memory was written; 0 in a compiled step."""
    return 0 if torch.compiler.is_compiling() else tensor._version  # noqa: SLF001


def check_unchanged(mask: Tensor, version: int) -> None:
    """Refuse a mask that an operation in place has written over."""
    if version_of(mask) != version:
        msg = (
            "`mask` must keep its numbers until the backward, got a tensor changed in "
            "place; follow it with an operation that is not in place"
        )
        raise ValueError(msg)
