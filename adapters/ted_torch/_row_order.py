"""Row j of a batch must be item j: follow the items, and find functions that do not.

A function may reorder or shorten the very list that it is given: its items tell which
ids are left. One that sorts or drops items in a list of its own leaves no trace, but it
gives the same batch for its items in another order; that is tried out once.
"""

from __future__ import annotations

import copy
import operator
import random
import warnings
import zlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from functools import partial
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor

_PAIRS = 8


def follow_items(given: Sequence[Any], left: Sequence[Any]) -> Sequence[int]:
    """Return which of the items given each of those left in the list is."""
    if len(left) == len(given) and all(map(operator.is_, given, left)):
        return range(len(given))  # as nearly always
    positions: dict[int, list[int]] = {}
    for position, item in enumerate(given):
        positions.setdefault(id(item), []).append(position)
    if all(id(item) in positions for item in left):
        # Given out more often than it came, an item repeats its last id.
        found = (positions[id(item)] for item in left)
        return [there.pop(0) if len(there) > 1 else there[0] for there in found]
    if len(left) == len(given) and all(
        new is old or (old is not None and id(new) not in positions)
        for old, new in zip(given, left, strict=True)
    ):
        return list(range(len(given)))  # each was replaced by what was made of it
    msg = (
        "`collate` must leave in its list items that it was given, got others, whose "
        "ids are not known; leave a broken item out instead of putting another there"
    )
    raise ValueError(msg)


def sorts_items(collate: Callable[[list[Any]], Any], items: Sequence[Any]) -> bool:
    """Tell whether two neighbours give the same batch in either order."""
    items = items[: 2 * _PAIRS]
    order = list(range(len(items)))
    made = _try(collate, items, order)
    for k in order[:-1:2] if made else ():
        head, rest = order[:k], order[k + 2 :]
        if _is_alike(made, _try(collate, items, [*head, k + 1, k, *rest])):
            # Two items that come out alike tell nothing.
            twice = _try(collate, items, [*head, k, k, *rest])
            if twice and made and twice.batch != made.batch:
                return True
    return False


def drops_missing(collate: Callable[[list[Any]], Any], items: Sequence[Any]) -> bool:
    """Tell whether it makes no difference where in a batch the items None stand."""
    missing = [k for k, item in enumerate(items) if item is None]
    there = [k for k, item in enumerate(items) if item is not None]
    order = list(range(len(items)))
    moved = [*there, *missing] if order != [*there, *missing] else [*missing, *there]
    both = bool(there and missing)
    return both and _is_alike(_try(collate, items, order), _try(collate, items, moved))


def reader_sorts(read: Callable[[list[int]], Any], indices: Sequence[int]) -> bool:
    """Tell whether a reader gives two samples in the same order, whatever is asked."""
    for one, other in zip(indices[::2][:_PAIRS], indices[1::2], strict=False):
        if one == other:
            continue
        made = _try(read, [one, other], [0, 1])
        if not _is_alike(made, _try(read, [one, other], [1, 0])):
            return False
        # Two samples that are alike tell nothing.
        first, second = (_try(read, [one, other], [k]) for k in (0, 1))
        if first and second and first.batch != second.batch:
            return True
    return False


class _Made(NamedTuple):
    """Which item each row of a batch is, by the list left behind; its content."""

    rows: list[int]
    batch: int


def _is_alike(made: _Made | None, other: _Made | None) -> bool:
    """Tell whether items in another order made the same batch."""
    if made is None or other is None:
        return False
    return made.batch == other.batch and made.rows != other.rows


def _try(
    function: Callable[[list[Any]], Any], items: Sequence[Any], order: Sequence[int]
) -> _Made | None:
    """Make a batch of copies; None of what fails or can't be compared."""
    with warnings.catch_warnings(), random_states_kept(function):
        warnings.simplefilter("ignore")
        try:
            given = [copy.deepcopy(items[k]) for k in order]
            left = list(given)
            batch = _checksum(function(left))
            return _Made([order[row] for row in follow_items(given, left)], batch)
        except Exception:  # noqa: BLE001 - the batch itself will tell what is wrong
            return None


def _checksum(value: Any, total: int = 0) -> int:
    """Return the CRC-32 of a value's content, or refuse one without any."""
    total = zlib.crc32(type(value).__name__.encode(), total)
    if isinstance(value, Tensor):
        dense = value.detach().cpu().contiguous()
        total = zlib.crc32(f"{dense.dtype} {tuple(dense.shape)}".encode(), total)
        return zlib.crc32(dense.flatten().view(torch.uint8).numpy().data, total)
    if isinstance(value, np.ndarray) and value.dtype != object:
        total = zlib.crc32(f"{value.dtype} {value.shape}".encode(), total)
        return zlib.crc32(value.tobytes(), total)
    if value is None or isinstance(
        value, int | float | complex | str | bytes | np.generic
    ):
        return zlib.crc32(repr(value).encode(), total)
    if isinstance(value, Mapping):
        parts = [part for pair in value.items() for part in pair]
    elif isinstance(value, list | tuple | np.ndarray):
        parts = list(value)
    else:
        state = value.__getstate__()
        if state is None:
            msg = f"a {type(value).__name__} has no content to compare"
            raise TypeError(msg)
        parts = [state]
    for part in parts:
        total = _checksum(part, total)
    return total


@contextmanager
def random_states_kept(*holders: Any) -> Iterator[None]:
    """Give back the generators: the global ones, and those that things hold."""
    before: list[Callable[[], object]] = [
        partial(torch.set_rng_state, torch.get_rng_state()),
        partial(np.random.set_state, np.random.get_state()),  # noqa: NPY002
        partial(random.setstate, random.getstate()),
    ]
    for one in (held for holder in holders for held in _held_by(holder)):
        if isinstance(one, torch.Generator):
            before.append(partial(one.set_state, one.get_state()))
        elif isinstance(one, np.random.RandomState):
            before.append(partial(one.set_state, one.get_state(legacy=False)))
        elif isinstance(one, np.random.Generator):
            bits = one.bit_generator
            before.append(partial(setattr, bits, "state", bits.state))
        elif isinstance(one, random.Random):
            before.append(partial(one.setstate, one.getstate()))
    try:
        yield
    finally:
        for restore in before:
            restore()


def _held_by(holder: Any) -> list[Any]:
    """Return what an object, or the one that a function belongs to, holds."""
    if isinstance(holder, partial):
        return [*_held_by(holder.func), *holder.args, *holder.keywords.values()]
    held = list(getattr(getattr(holder, "__self__", holder), "__dict__", {}).values())
    for cell in getattr(holder, "__closure__", None) or ():
        with suppress(ValueError):  # nothing in it yet
            held.append(cell.cell_contents)
    return held
