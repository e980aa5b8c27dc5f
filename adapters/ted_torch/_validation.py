"""Checks of one step's tensors; none of them waits for a device."""

from __future__ import annotations

import math
from collections.abc import Collection, Mapping, Sequence
from pickle import UnpicklingError
from typing import Any, TypeAlias

import torch
from torch import Tensor
from torch.utils.data import IterableDataset

from ted_core import Pruner
from ted_core.config import check_options

Ids: TypeAlias = Tensor | Sequence[tuple[Tensor, Tensor | float]]
"""Ids of a batch, (B,); or one pair (ids, weights) for each part of a mixed batch."""

# What PyTorch raises of a file that is damaged, and what lacks one of its parts.
DAMAGE = (RuntimeError, EOFError, ValueError, KeyError, TypeError, UnpicklingError)
_COLLATE = (
    "; without `ids=` of the session batches are (ids, items), and a collate function "
    "of your own goes in as `collate_fn=ted.collate(fn)`"
)
_UNSIGNED = {torch.uint16, torch.uint32, torch.uint64}


def found_kind(value: object) -> object:
    """Return a tensor's dtype, or the name of another value's type."""
    dtype, kind = getattr(value, "dtype", None), type(value).__name__
    if isinstance(value, Tensor):
        return dtype
    return kind if dtype is None else f"{kind} of {dtype}"


def check_float(name: str, value: object, *, also: str = "") -> Tensor:
    """Return a floating-point tensor; `also` says in the error what else may be."""
    if not isinstance(value, Tensor) or not value.is_floating_point():
        found = found_kind(value)
        msg = f"`{name}` must be a floating-point tensor{also}, got {found}"
        raise TypeError(msg)
    return value


def check_integers(
    name: str, value: object, *, also: str = "", remedy: str = ""
) -> Tensor:
    """Return an integer tensor; `also` says in the error what else may be given."""
    if (
        not isinstance(value, Tensor)
        or value.is_floating_point()
        or value.is_complex()
        or value.dtype == torch.bool
    ):
        found = found_kind(value)
        msg = f"`{name}` must be an integer tensor{also}, got {found}{remedy}"
        raise TypeError(msg)
    return value


def check_shape(
    label: str, value: Tensor, shape: Sequence[int], *, remedy: str = ""
) -> None:
    """Refuse a tensor of another shape."""
    found = tuple(value.shape)
    if found != tuple(shape):
        msg = f"{label} must have shape {tuple(shape)}, got shape {found}{remedy}"
        raise ValueError(msg)


def check_range(name: str, value: Tensor, low: int, stop: int) -> None:
    """Refuse an element outside [low, stop); on a device nothing is looked at."""
    known = value.device.type == "cpu" and not torch.compiler.is_compiling()
    if known and value.numel():
        lowest, highest = (int(each) for each in torch.aminmax(value))
        if lowest < low or highest >= stop:
            found = lowest if lowest < low else highest
            msg = f"`{name}` must be in [{low}, {stop}), got {found}"
            raise ValueError(msg)


def check_graph(name: str, value: Tensor) -> None:
    """Refuse a tensor that no backward reaches."""
    if not value.requires_grad:
        msg = (
            f"`{name}` must have a graph, got a tensor that requires no gradient; call "
            "`loss` in training only, outside `torch.no_grad`"
        )
        raise ValueError(msg)


def check_numbers(name: str, value: Tensor, device: torch.device) -> None:
    """Refuse a tensor without numbers where the session has some."""
    if value.device.type == "meta" != device.type:
        msg = f"`{name}` must hold numbers, got a meta tensor for a session on {device}"
        raise TypeError(msg)


def check_valid(valid: object, losses: Tensor) -> Tensor:
    """Return which losses count: a bool tensor of their shape."""
    if not isinstance(valid, Tensor) or valid.dtype != torch.bool:
        msg = f"`valid` must be a bool tensor, got {found_kind(valid)}"
        raise TypeError(msg)
    check_shape("`valid`", valid, losses.shape)
    return valid


def check_masks(name: str, mask: object, size: int | None = None) -> list[Tensor]:
    """Return one or several masked tensors of `size` rows as a list."""
    several = not isinstance(mask, Tensor)
    if several and (not isinstance(mask, list | tuple) or not mask):
        check_float(name, mask, also=", or a list of them")
    masks: Any = mask if several else [mask]
    for one in masks:
        check_float(name, one)
        if one.ndim == 0 or (size is not None and one.shape[0] != size):
            first = "B" if size is None else size
            msg = f"`{name}` must have shape ({first}, ...), got {tuple(one.shape)}"
            raise ValueError(msg)
        size = one.shape[0]
    return list(masks)


def check_ids(
    ids: Ids, size: int, n: int, device: torch.device
) -> Tensor | list[tuple[Tensor, Tensor]]:
    """Return checked ids, a mixed batch's weights as tensors of shape (B,)."""
    if isinstance(ids, Tensor) or not isinstance(ids, Sequence) or not ids:
        return _check_part(ids, size, n, device)
    if torch.compiler.is_compiling():
        msg = "`ids` must be a tensor in a compiled step, got pairs; compile the model"
        raise TypeError(msg)
    pairs = []
    for pair in ids:
        if not isinstance(pair, tuple | list) or len(pair) != 2:  # noqa: PLR2004
            return _check_part(ids, size, n, device)
        part, weights = pair
        part = _check_part(part, size, n, device)
        pairs.append((part, _check_part_weights(weights, size, part.device)))
    return pairs


def _check_part(value: object, size: int, n: int, device: torch.device) -> Tensor:
    """Refuse ids of another shape or dtype, and on the CPU ids outside [0, n)."""
    also = ", or pairs (ids, weights)"
    ids = check_integers("ids", value, also=also, remedy=_COLLATE)
    check_numbers("ids", ids, device)
    if ids.dtype in _UNSIGNED:
        ids = ids.long()  # PyTorch compares and indexes hardly any of these
    remedy = f", not one for each row of the losses{_COLLATE}"
    check_shape("`ids`", ids, (size,), remedy=remedy)
    check_range("ids", ids, 0, n)
    return ids


def _check_part_weights(weights: object, size: int, device: torch.device) -> Tensor:
    """Return the weights of one part of a mixed batch, shape (B,)."""
    label, bad = "the weights of `ids`", []
    if isinstance(weights, int | float) and not isinstance(weights, bool):
        bad = [] if 0 <= weights < math.inf else [weights]
        weights = torch.full((size,), float(weights), device=device)
    elif not isinstance(weights, Tensor) or not weights.is_floating_point():
        found = found_kind(weights)
        msg = f"{label} must be numbers or a float tensor, got {found}"
        raise TypeError(msg)
    else:
        weights = weights.detach()
        if weights.device.type == "cpu":
            bad = weights[~(weights >= 0) | torch.isinf(weights)].tolist()
    if bad:
        msg = f"{label} must be finite and at least 0, got {bad[0]}"
        raise ValueError(msg)
    weights = weights.expand(size) if weights.ndim == 0 else weights
    check_shape(label, weights, (size,))
    return weights


def check_own_losses(losses: Tensor, signal: str, weights: Tensor | None) -> None:
    """Refuse one number of a batch, expanded, where samples' own losses are needed."""
    needed = signal == "loss" or weights is not None
    if needed and losses.stride() == (0,) and losses.shape[0] > 1:
        by = "weights" if signal != "loss" else "the signal 'loss'"
        msg = (
            f"`losses` must be one of each sample for {by}, got one number, expanded; "
            "take the mask gradient without weights, or each sample's own loss"
        )
        raise ValueError(msg)


def version_of(tensor: Tensor) -> int:
    """Return how often a tensor's memory was written; 0 in a compiled step."""
    return 0 if torch.compiler.is_compiling() else tensor._version  # noqa: SLF001


def check_unchanged(mask: Tensor, version: int) -> None:
    """Refuse a mask that an operation in place has written over."""
    if version_of(mask) != version:
        msg = (
            "`mask` must keep its numbers until the backward, got a tensor changed in "
            "place; follow it with an operation that is not in place"
        )
        raise ValueError(msg)


def check_no_shard(options: Mapping[str, Any], framework: str) -> None:
    """Refuse a run over shards where the framework deals out one data set's batches."""
    shard = options.get("shard")
    if shard is not None:
        msg = (
            f"`shard` must not be given under {framework}, which deals the batches of "
            f"one data set out to the processes, got {shard!r}; give every process the "
            "whole data set, or train the shards in a loop of your own"
        )
        raise ValueError(msg)


def check_trainer_options(
    ted: object,
    taken: Collection[str],
    *,
    framework: str,
    remedy: str,
    taker: type | None = None,
) -> dict[str, Any]:
    """Return a copy of the user's options; some of them a trainer gives itself."""
    # A `taker` has the options among its own keywords, and no argument `ted`.
    given_to = "ted" if taker is None else taker.__name__
    if ted is not None and not isinstance(ted, Mapping):
        msg = f"`ted` must be a mapping of options of a run, got {type(ted).__name__}"
        raise TypeError(msg)
    options = dict(ted or {})
    for name in taken:
        if name in options:
            msg = (
                f"`{given_to}` must leave {name!r} to the trainer, got "
                f"{options[name]!r}; {remedy}"
            )
            raise TypeError(msg)
    if taker is not None:
        check_options(options, taker)
    check_no_shard(options, framework)
    return options


def check_bases(cls: type, mixin: type, trainer: type) -> None:
    """Refuse a framework's trainer before the mixin in the order of methods."""
    for base in cls.__mro__[: cls.__mro__.index(mixin)]:
        if issubclass(base, trainer) and not issubclass(base, mixin):
            msg = (
                f"`{cls.__name__}` must have {mixin.__name__} first among its base "
                f"classes, got {base.__name__} before it; write `class {cls.__name__}"
                f"({mixin.__name__}, {base.__name__})`"
            )
            raise TypeError(msg)


def check_prunes(name: str, pruner: Pruner, step: int) -> None:
    """Refuse a run that keeps every sample, for one optimizer step takes as many."""
    config = pruner.config
    min_kept, n = int(config.kept_counts.min()), config.n
    if min_kept == n and config.multiple_of > 1 and float(config.keep_ratios.min()) < 1:
        msg = (
            f"`{name}` must hold more samples than an optimizer step of {step} for any "
            f"to be left out, got {n}; take smaller batches, or "
            "`ted={'multiple_of': 1}`"
        )
        raise ValueError(msg)


def check_even_batches(settings: Any, processes: int) -> None:
    """Refuse settings of Accelerate under which processes step unequally often."""
    if processes > 1 and not settings.even_batches:
        msg = (
            "`even_batches` must be True, got False; processes that step unequally "
            "often would wait for each other"
        )
        raise ValueError(msg)


def count_items(dataset: object, *, name: str = "dataset") -> int:
    """Return how many items a map-style data set has, or refuse one without length."""
    if isinstance(dataset, IterableDataset) or not hasattr(dataset, "__len__"):
        msg = (
            f"`{name}` must be a map-style data set with a length, got "
            f"{type(dataset).__name__}; samples without ids can't be pruned"
        )
        raise TypeError(msg)
    try:
        return len(dataset)
    except TypeError as error:
        msg = f"`{name}` must have a length, got {type(dataset).__name__}: {error}"
        raise TypeError(msg) from None
