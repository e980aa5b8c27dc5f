"""A session's state: tensors and plain values, read back with every field checked.

A state is one process's: the pruner's fields under ``pruner.``, what this process has
recorded of the open epoch under ``buffer.``, and its position there. Where a framework
writes the first process's state alone, the states of all are gathered into one: the
fields that all have alike, and under ``ranks`` each process's own.
"""

from __future__ import annotations

import zlib
from collections.abc import Mapping
from contextlib import suppress
from typing import Any

import numpy as np
import torch
from torch import Tensor

from ted_core import CheckpointError, Shard
from ted_core.checkpoint import array_field, plain_field
from ted_core.config import RunConfig
from ted_core.typing import Ids, State
from ted_torch.buffer import EpochBuffer
from ted_torch.ranks import Ranks, all_gather, process_of

FORMAT = "ted_torch.TED"
VERSION = 2

# The buffer's tensors, and their names in files.
_BUFFER = {
    "sums": "sums",
    "counts": "counts",
    "deliveries": "deliveries",
    "weightless": "weightless",
    "counters": "meters",
    "shares": "shares",
}
# Version 1 knew a sample's values alone.
_SINCE_VERSION_2 = ("deliveries", "weightless")
_RANKS = ("num_replicas", "rank")
_PLAIN = ("order", "position")
_CHECKSUM, _VERSION = "checksum", "version"
_CORE = "pruner."
_OWN = ("buffer.", "position", "rank", _CHECKSUM)


def write_session(
    pruner: State, buffer: EpochBuffer, ranks: Ranks, plain: Mapping[str, int | str]
) -> dict[str, Any]:
    """Return the flat state: tensors on the CPU, copied, and plain values."""
    state: dict[str, Any] = {"format": FORMAT, "version": VERSION}
    state |= plain
    state |= {name: getattr(ranks, name) for name in _RANKS}
    for name, saved in _BUFFER.items():
        tensor: Tensor | None = getattr(buffer, name)
        if tensor is not None:
            state[f"buffer.{saved}"] = tensor.detach().to("cpu", copy=True)
    for name, value in pruner.items():
        array = isinstance(value, np.ndarray)
        state[_CORE + name] = torch.from_numpy(value) if array else value
    return sealed(state)


def sealed(state: Mapping[str, Any]) -> dict[str, Any]:
    """Return a state with its checksum, in place of the one it had."""
    return {**state, _CHECKSUM: _checksum(state)}


def check_order(saved: int, here: int) -> None:
    """Refuse an open epoch whose order is not the saved one."""
    if here != saved:
        msg = f"`order` must be this epoch's, saved checksum {saved}, here {here}"
        raise CheckpointError(msg)


def check_fingerprint(saved: int | str | None, here: int | str | None) -> None:
    """Refuse other samples; a state without a fingerprint is taken."""
    if saved is not None and here is not None and saved != here:
        msg = (
            f"`fingerprint` must be the saved one, saved {saved!r}, here {here!r}: ids "
            "would mean other samples; split the data as before, for example "
            "`random_split(..., generator=torch.Generator().manual_seed(0))`"
        )
        raise CheckpointError(msg)


def check_whole(state: Mapping[str, Any]) -> None:
    """Refuse a state whose bits are not those that were saved."""
    # PyTorch reads its files without checking them: a flipped bit of a score would be
    # a score like any other.
    here = _checksum(state)
    if state[_CHECKSUM] != here:
        msg = (
            f"`{_CHECKSUM}` must be that of the state, saved {state[_CHECKSUM]}, here "
            f"{here}: the state was damaged or changed; take an older one"
        )
        raise CheckpointError(msg)


def _checksum(state: Mapping[str, Any]) -> int:
    """Return the CRC-32 of all other fields."""
    total = 0
    for name in sorted(state.keys() - {_CHECKSUM}):
        value = state[name]
        if isinstance(value, Tensor):
            array = np.ascontiguousarray(value.detach().cpu().numpy())
            total = zlib.crc32(f"{name} {array.dtype} {array.shape}".encode(), total)
            total = zlib.crc32(array.view(np.uint8).data, total)
        else:
            total = zlib.crc32(f"{name} {value!r}".encode(), total)
    return total


def read_session(
    state: Mapping[str, Any], config: RunConfig, ranks: Ranks
) -> tuple[State, dict[str, Tensor], dict[str, int]]:
    """Return the pruner's state, the buffer's tensors and the plain values."""
    if not isinstance(state, Mapping):
        msg = f"`state` must be a mapping, got {type(state).__name__}"
        raise TypeError(msg)
    if config.shard is not None:
        _check_shard(state, config.shard)
    arrays = {name: _to_array(value) for name, value in state.items()}
    plain = _read_plain(arrays)
    buffer = _read_buffer(arrays, config.n, plain[_VERSION])
    if int(buffer["counters"][0]):
        _check_ranks(plain, ranks)
    known = {"format", "fingerprint", *plain}
    known |= {f"buffer.{_BUFFER[name]}" for name in buffer}
    pruner: State = {}
    for name, value in arrays.items():
        if isinstance(name, str) and name.startswith(_CORE):
            pruner[name.removeprefix(_CORE)] = value
        elif name not in known:
            msg = f"`state` must hold known fields only, got {name}"
            raise CheckpointError(msg)
    return pruner, buffer, plain


def _to_array(value: Any) -> Any:
    """Return a tensor as an array; one that NumPy lacks stays, to be refused."""
    if isinstance(value, Tensor):
        with suppress(TypeError):
            return value.detach().cpu().numpy()
    return value


def _check_shard(state: Mapping[str, Any], shard: Shard) -> None:
    """Refuse the state of another process's samples."""
    for name, here in shard.describe().items():
        saved = state.get(f"{_CORE}{name}")
        if saved != here:
            msg = (
                f"`{name}` must equal the saved one, saved {saved!r}, here {here!r}; "
                "each rank loads what it has saved"
            )
            raise CheckpointError(msg)


def _read_plain(state: Mapping[str, Any]) -> dict[str, int]:
    """Check format and version; return the fields of one number."""
    saved, version = (
        plain_field(state, "format", str),
        plain_field(state, _VERSION, int),
    )
    if saved != FORMAT:
        msg = f"`format` must be {FORMAT!r}, saved {saved!r}"
        raise CheckpointError(msg)
    if version not in {1, VERSION}:
        msg = f"`version` must be at most {VERSION}, saved {version}"
        raise CheckpointError(msg)
    plain = {_VERSION: version}
    for name in (_CHECKSUM, *_PLAIN, *_RANKS):
        plain[name] = plain_field(state, name, int)
        if plain[name] < 0:
            msg = f"`{name}` must be an int, at least 0, saved {plain[name]}"
            raise CheckpointError(msg)
    return plain


def _read_buffer(state: Mapping[str, Any], n: int, version: int) -> dict[str, Tensor]:
    """Return the buffer's tensors, by their names there."""
    here = EpochBuffer(n)
    here.shares = here.sums if "buffer.shares" in state else None
    buffer = {}
    for name, saved in _BUFFER.items():
        like = getattr(here, name)
        if like is not None and not (version == 1 and name in _SINCE_VERSION_2):
            array = array_field(state, f"buffer.{saved}", like.numpy())
            buffer[name] = torch.from_numpy(array)
    received, _, recorded = buffer["counters"].tolist()
    pairs = [(int(buffer["counts"].sum()), recorded)]
    if version > 1:
        pairs.append((int(buffer["deliveries"].sum()), received))
    # 8 bits may have run over.
    agree = all((counted - saved) % 256 == 0 for counted, saved in pairs)
    if int(buffer["counters"].min()) < 0 or not agree:
        msg = (
            "`buffer.meters` must agree with the counts, saved "
            f"{buffer['counters'].tolist()} for sums of "
            f"{[counted for counted, _ in pairs]}"
        )
        raise CheckpointError(msg)
    return buffer


def with_deliveries(buffer: Mapping[str, Tensor], order: Ids) -> dict[str, Tensor]:
    """Return a buffer of version 1, whose values in the plan count as deliveries."""
    counts, counters = buffer["counts"], buffer["counters"].clone()
    deliveries = torch.zeros_like(counts)
    planned = torch.from_numpy(order.astype(np.int64))
    deliveries[planned] = counts[planned]
    counters[0] = deliveries.sum()
    added = {"deliveries": deliveries, "weightless": torch.zeros_like(counts)}
    return {**buffer, **added, "counters": counters}


def _check_ranks(plain: Mapping[str, int], ranks: Ranks) -> None:
    """Refuse an open epoch of another process."""
    for name in _RANKS:
        if plain[name] != getattr(ranks, name):
            msg = (
                f"`{name}` must be the saved one while an epoch is open, saved "
                f"{plain[name]}, here {getattr(ranks, name)}; save on every rank, or "
                "after `set_epoch` of the next epoch"
            )
            raise CheckpointError(msg)


def is_open(state: Mapping[str, Any]) -> bool:
    """Return whether a state's epoch has received samples."""
    counters = state.get("buffer.meters")
    # The session refuses a state that lacks the field.
    return isinstance(counters, Tensor) and bool(counters.flatten()[:1].gt(0).any())


def gather_state(
    state: Mapping[str, Any], ranks: Ranks, *, device: torch.device
) -> dict[str, Any]:
    """Return the states of all processes as one; all take part in a collective."""
    own = {name: value for name, value in state.items() if name.startswith(_OWN)}
    alike = {name: value for name, value in state.items() if name not in own}
    return {**alike, "ranks": all_gather(own, ranks, device=device)}


def own_state(state: Mapping[str, Any], ranks: Ranks) -> dict[str, Any]:
    """Return this process's state out of a gathered one, or out of its own."""
    alike, here = dict(state), process_of(ranks)
    saved_by_accelerate = alike.pop("world_size", None) is not None
    if "ranks" in alike:
        # Another number of processes: the session tells whether the first one's fits.
        parts = alike.pop("ranks") or [{}]
        return {**alike, **parts[here if here < len(parts) else 0]}
    if not saved_by_accelerate or not here:
        return alike
    # Accelerate's older files add up all processes' buffers: the first takes them.
    for name, value in alike.items():
        if name.startswith("buffer.") and isinstance(value, Tensor):
            alike[name] = torch.zeros_like(value)
    return sealed(alike)
