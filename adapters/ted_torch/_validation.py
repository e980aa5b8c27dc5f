"""Checks of one step's tensors; none of them waits for a device."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any, TypeAlias

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import IterableDataset

__all__ = [
    "Ids",
    "buffer_device",
    "check_gradients",
    "check_graph",
    "check_ids",
    "check_losses",
    "check_masks",
    "check_size",
    "check_unchanged",
    "check_valid",
    "check_weights",
    "count_items",
    "refuse_shard",
    "version_of",
]

_MOST_SAMPLES = 2**53


Ids: TypeAlias = Tensor | Sequence[tuple[Tensor, Tensor | float]]


"""Ids of a batch, (B,); or one pair (ids, weights) for each part of a mixed batch."""


def check_graph(name: str, value: Tensor) -> None:
    """Refuse a tensor that no backward reaches."""
    if not value.requires_grad:
        msg = (
            f"`{name}` must have a graph, got a tensor that requires no gradient; call "
            "`loss` in training only, outside `torch.no_grad`"
        )
        raise ValueError(msg)


def check_gradients(hidden: Tensor, gradient: Tensor, loss_gradient: Tensor) -> None:
    """Refuse a masked tensor and two gradients that do not go together."""
    given = {"hidden": hidden, "gradient": gradient, "loss_gradient": loss_gradient}
    value: object
    for name, value in given.items():
        if not isinstance(value, Tensor) or not value.is_floating_point():
            found = getattr(value, "dtype", type(value).__name__)
            msg = f"`{name}` must be a floating-point tensor, got {found}"
            raise TypeError(msg)
    shape = tuple(hidden.shape)
    for name, asked in {"gradient": shape, "loss_gradient": shape[:1]}.items():
        found = tuple(given[name].shape)
        if found != asked or not shape:
            msg = f"`{name}` must have shape {asked}, of `hidden`, got shape {found}"
            raise ValueError(msg)


def check_losses(losses: object) -> Tensor:
    """Return losses, or refuse what is no floating tensor."""
    if not isinstance(losses, Tensor) or not losses.is_floating_point():
        found = getattr(losses, "dtype", type(losses).__name__)
        msg = f"`losses` must be a floating-point tensor, got {found}"
        raise TypeError(msg)
    return losses


def check_valid(valid: object, losses: Tensor) -> Tensor:
    """Return which losses count, or refuse what does not say that of each."""
    if not isinstance(valid, Tensor) or valid.dtype != torch.bool:
        found = getattr(valid, "dtype", type(valid).__name__)
        msg = f"`valid` must be a bool tensor, got {found}"
        raise TypeError(msg)
    if valid.shape != losses.shape:
        msg = (
            f"`valid` must have shape {tuple(losses.shape)}, got shape "
            f"{tuple(valid.shape)}"
        )
        raise ValueError(msg)
    return valid


def check_masks(name: str, mask: object, size: int | None = None) -> list[Tensor]:
    """Refuse what is no floating tensor of `size` rows, or no list of such."""
    masks = [mask] if isinstance(mask, Tensor) else mask
    if not isinstance(masks, list | tuple) or not masks:
        found = type(mask).__name__
        msg = (
            f"`{name}` must be a floating-point tensor, or a list of them, got {found}"
        )
        raise TypeError(msg)
    for one in masks:
        if not isinstance(one, Tensor) or not one.is_floating_point():
            found = getattr(one, "dtype", type(one).__name__)
            msg = f"`{name}` must be a floating-point tensor, got {found}"
            raise TypeError(msg)
        if one.ndim == 0 or (size is not None and one.shape[0] != size):
            first = "B" if size is None else size
            msg = f"`{name}` must have shape ({first}, ...), got {tuple(one.shape)}"
            raise ValueError(msg)
        size = one.shape[0]
    return list(masks)


def check_size(n: object) -> int:
    """Return a number of samples as an int, or say why it is none."""
    if (
        isinstance(n, int | np.integer)
        and not isinstance(n, bool)
        and 1 <= n <= _MOST_SAMPLES
    ):
        return int(n)
    msg = f"`n` must be an integer in [1, {_MOST_SAMPLES}], got {n!r}"
    raise ValueError(msg)


def buffer_device(buffer: object, device: torch.device | str) -> torch.device | str:
    """Return where values gather, for the words of the session's argument."""
    if not isinstance(buffer, str) or buffer not in {"device", "cpu"}:
        msg = f"`buffer` must be 'device' or 'cpu', got {buffer!r}"
        raise ValueError(msg)
    return device if buffer == "device" else "cpu"


def check_ids(ids: Ids, size: int, n: int) -> Tensor | list[tuple[Tensor, Tensor]]:
    """Refuse ids of another shape or dtype, and on the CPU ids out of [0, n).

    Returns
    -------
    Tensor of int, shape (B,), or list of pairs (ids, weights)
        The ids; the weights of a mixed batch as tensors of shape (B,).
    """
    if isinstance(ids, Tensor) or not isinstance(ids, Sequence) or not ids:
        return _one(ids, size, n)
    if torch.compiler.is_compiling():
        msg = "`ids` must be a tensor in a compiled step, got pairs; compile the model"
        raise TypeError(msg)
    pairs = []
    for pair in ids:
        if not isinstance(pair, tuple | list) or len(pair) != 2:  # noqa: PLR2004
            return _one(ids, size, n)
        part, weights = pair
        _one(part, size, n)
        pairs.append((part, _weights(weights, size, part.device)))
    return pairs


def _one(ids: object, size: int, n: int) -> Tensor:
    if (
        not isinstance(ids, Tensor)
        or ids.is_floating_point()
        or ids.is_complex()
        or ids.dtype == torch.bool
    ):
        found = getattr(ids, "dtype", type(ids).__name__)
        msg = f"`ids` must be an integer tensor, or pairs (ids, weights), got {found}"
        raise TypeError(msg)
    if tuple(ids.shape) != (size,):
        msg = f"`ids` must have shape ({size},), got shape {tuple(ids.shape)}"
        raise ValueError(msg)
    if ids.device.type != "cpu" or torch.compiler.is_compiling() or not size:
        return ids
    lowest, highest = torch.aminmax(ids)
    low, high = int(lowest), int(highest)
    if low < 0 or high >= n:
        msg = f"`ids` must be in [0, {n}), got {low if low < 0 else high}"
        raise ValueError(msg)
    return ids


def _weights(weights: object, size: int, device: torch.device) -> Tensor:
    if isinstance(weights, int | float) and not isinstance(weights, bool):
        if not 0 <= weights < math.inf:
            msg = f"the weights of `ids` must be finite and at least 0, got {weights}"
            raise ValueError(msg)
        return torch.full((size,), float(weights), device=device)
    if not isinstance(weights, Tensor) or not weights.is_floating_point():
        found = getattr(weights, "dtype", type(weights).__name__)
        msg = f"the weights of `ids` must be numbers or a float tensor, got {found}"
        raise TypeError(msg)
    if weights.ndim == 0:
        weights = weights.expand(size)
    if tuple(weights.shape) != (size,):
        msg = (
            f"the weights of `ids` must have shape ({size},), got shape "
            f"{tuple(weights.shape)}"
        )
        raise ValueError(msg)
    if weights.device.type == "cpu":
        bad = ~(weights >= 0) | torch.isinf(weights)
        if bad.any():
            msg = (
                "the weights of `ids` must be finite and at least 0, got "
                f"{weights[bad][0].item()}"
            )
            raise ValueError(msg)
    return weights.detach()


def check_weights(weights: object, size: int) -> None:
    """Refuse what is no floating tensor of shape (size,)."""
    if not isinstance(weights, Tensor) or not weights.is_floating_point():
        found = getattr(weights, "dtype", type(weights).__name__)
        msg = f"`weights` must be a floating-point tensor, got {found}"
        raise TypeError(msg)
    if tuple(weights.shape) != (size,):
        msg = f"`weights` must have shape ({size},), got shape {tuple(weights.shape)}"
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


def refuse_shard(options: Mapping[str, Any], host: str) -> None:
    """Refuse a run over shards under a host that shares one data set among the ranks.

    Parameters
    ----------
    options : mapping of str to any
        Options of the run.
    host : str
        Who deals out the batches.

    Raises
    ------
    ValueError
        There is a shard among them.
    """
    shard = options.get("shard")
    if shard is not None:
        msg = (
            f"`shard` must not be given under {host}, which deals the batches of one "
            f"data set out to the ranks, got {shard!r}; give every rank the whole data "
            "set, or train the shards in a loop of your own"
        )
        raise ValueError(msg)


def count_items(dataset: object) -> int:
    """Return how many items a map-style data set has, or refuse what has no length.

    Parameters
    ----------
    dataset : map-style data set
        The user's.

    Returns
    -------
    int
        Its length, 0 too.
    """
    if isinstance(dataset, IterableDataset) or not hasattr(dataset, "__len__"):
        msg = (
            "`dataset` must be a map-style data set with a length, got "
            f"{type(dataset).__name__}; samples without ids can't be pruned"
        )
        raise TypeError(msg)
    try:
        return len(dataset)
    except TypeError as error:
        msg = f"`dataset` must have a length, got {type(dataset).__name__}: {error}"
        raise TypeError(msg) from None
