"""A session's state: tensors and plain values, read back with every field checked.

A state is one process's: the pruner's fields under ``pruner.``, what this process has
recorded of the open epoch under ``buffer.``, and its position there. Where a framework
writes the first process's state alone, the states of all are gathered into one: the
fields that all have alike, and under ``ranks`` each process's own.
"""

from __future__ import annotations

import zlib
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor

from ted_core import CheckpointError, Pruner, Static, __version__
from ted_core.checkpoint import array_field, check_known, check_returned, plain_field
from ted_core.typing import State
from ted_torch._validation import DAMAGE
from ted_torch.buffer import EpochBuffer
from ted_torch.data import TEDSampler
from ted_torch.ranks import SPLIT_ALIKE, Ranks, all_gather, process_of

FORMAT = "ted_torch.TED"
VERSION = 2

# The buffer's tensors, and their names in files.
_BUFFER = {
    "sums": "buffer.sums",
    "counts": "buffer.counts",
    "deliveries": "buffer.deliveries",
    "weightless": "buffer.weightless",
    "counters": "buffer.meters",
    "shares": "buffer.shares",
}
# Version 1 knew a sample's values alone.
_SINCE_VERSION_2 = ("deliveries", "weightless")
_RANKS = ("num_replicas", "rank")
_CHECKSUM, _CORE = "checksum", "pruner."
_OWN = ("buffer.", "position", "rank", _CHECKSUM)
# What each process of a run over shards has for itself.
_OF_SHARD = {
    "n",
    "labels",
    "lengths",
    "order",
    "fingerprint",
    "shard.rank",
    "shard.first",
}


class SavedSession(NamedTuple):
    """A state that was read: the pruner's, the buffer's tensors, the plain values."""

    pruner: State
    buffer: dict[str, Tensor]
    plain: dict[str, int]

    @property
    def received(self) -> int:
        """Samples that the loss had received in the open epoch."""
        return int(self.buffer["counters"][0])

    def tensors(self, pruner: Pruner) -> dict[str, Tensor]:
        """Return the buffer; of version 1, values in the plan count as deliveries."""
        if self.plain["version"] > 1:
            return self.buffer
        counts, counters = self.buffer["counts"], self.buffer["counters"].clone()
        deliveries = torch.zeros_like(counts)
        if self.received:
            planned = torch.from_numpy(pruner.plan().order.astype(np.int64))
            deliveries[planned] = counts[planned]
        counters[0] = deliveries.sum()
        added = {"deliveries": deliveries, "weightless": torch.zeros_like(counts)}
        return {**self.buffer, **added, "counters": counters}


def write_session(
    sampler: TEDSampler, buffer: EpochBuffer, plain: Mapping[str, int | str]
) -> dict[str, Any]:
    """Return the flat state: tensors on the CPU, copied, and plain values."""
    state: dict[str, Any] = {"format": FORMAT, "version": VERSION, **plain}
    state["order"] = _order_checksum(sampler.pruner)
    state |= {name: getattr(sampler.ranks, name) for name in _RANKS}
    for name, saved in _BUFFER.items():
        tensor: Tensor | None = getattr(buffer, name)
        if tensor is not None:
            state[saved] = tensor.detach().to("cpu", copy=True)
    for name, value in sampler.pruner.state_dict().items():
        array = isinstance(value, np.ndarray)
        state[_CORE + name] = torch.from_numpy(value) if array else value
    return _sealed(state)


def _order_checksum(pruner: Pruner) -> int:
    """Return the checksum of the open epoch's order; 0 if it is not known yet."""
    made_together = pruner.config.shard is not None
    if pruner.finished or (made_together and not pruner.planned):
        return 0
    planned, checksum = pruner.planned, pruner.plan().checksum
    if not planned:  # a save opens no epoch, of which `run_metrics` would tell
        pruner._plan = None  # noqa: SLF001 - our core
    return checksum


def _sealed(state: Mapping[str, Any]) -> dict[str, Any]:
    """Return a state with its checksum, in place of the one it had."""
    return {**state, _CHECKSUM: _checksum(state)}


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


def run_facts(
    sampler: TEDSampler, *, epoch: int, fingerprint: int | str | None
) -> dict[str, Any]:
    """Return what must be the same on all processes before they train an epoch."""
    pruner, ranks = sampler.pruner, sampler.ranks
    config, strategy = pruner.config, pruner.config.strategy
    facts: dict[str, Any] = {"shard": None, "version": __version__}
    facts |= config.describe() | {"epoch": epoch, "fingerprint": fingerprint}
    if config.shard is None:
        facts["order"] = pruner.plan().checksum
    else:
        # Its plan is made together: only once all agree.
        plan = pruner.plan().kept_by_rank if pruner.planned else None
        facts |= {"shard": config.shard.balance, "plan": plan}
        static = isinstance(strategy, Static)
        own = _OF_SHARD | ({"strategy.n", "strategy.checksum"} if static else set())
        facts = {name: fact for name, fact in facts.items() if name not in own}
    facts["num_replicas"] = ranks.num_replicas
    if ranks.num_replicas > 1:
        facts["position"] = sampler.start
    return facts


def check_saved(
    name: str, saved: object, here: object, *, when: str = "", remedy: str = ""
) -> None:
    """Refuse what is not the saved value, with both."""
    if saved != here:
        msg = (
            f"`{name}` must be the saved one{when}, saved {saved!r}, here {here!r}"
            f"{remedy}"
        )
        raise CheckpointError(msg)


def check_loaded(state: Mapping[str, Any], saved: SavedSession, pruner: Pruner) -> None:
    """Refuse an open epoch that this run can't go on with, and damage."""
    epochs = saved.pruner["epochs"]
    if saved.received and epochs != pruner.epochs:
        msg = (
            f"`epochs` may change between two epochs only, saved {epochs} with epoch "
            f"{pruner.epoch} open, here {pruner.epochs}; load the state into a run of "
            f"{epochs}, call `ted.close_epoch()`, and save it again"
        )
        raise CheckpointError(msg)
    if saved.received:
        remedy = ": checksums of the epoch's order"
        order, here = saved.plain["order"], _order_checksum(pruner)
        check_saved("order", order, here, remedy=remedy)
    # PyTorch reads its files without checking them: a flipped bit of a score would be
    # a score like any other.
    damage = ": the state was damaged or changed; take an older one"
    check_saved(_CHECKSUM, state[_CHECKSUM], _checksum(state), remedy=damage)


def read_session(
    state: Mapping[str, Any], sampler: TEDSampler, fingerprint: int | str | None
) -> SavedSession:
    """Return a state's parts, each field checked by itself."""
    check_returned(state)
    config = sampler.pruner.config
    if config.shard is not None:
        # Before anything of another process's samples.
        for name, here in config.shard.describe().items():
            remedy = "; each process loads what it has saved"
            check_saved(name, state.get(f"{_CORE}{name}"), here, remedy=remedy)
    elif isinstance(n := state.get(f"{_CORE}n"), int):
        # Before the shapes that follow from it.
        check_saved("n", n, config.n)
    arrays = {name: _to_array(value) for name, value in state.items()}
    plain = _read_plain(arrays)
    buffer = _read_buffer(arrays, config.n, plain["version"])
    of_pruner = {k for k in arrays if isinstance(k, str) and k.startswith(_CORE)}
    saved = SavedSession(
        {name.removeprefix(_CORE): arrays[name] for name in of_pruner}, buffer, plain
    )
    for name in _RANKS if saved.received else ():
        remedy = "; save on every process, or after `set_epoch` of the next epoch"
        when, here = " while an epoch is open", getattr(sampler.ranks, name)
        check_saved(name, plain[name], here, when=when, remedy=remedy)
    known = {"format", "fingerprint", *plain, *(_BUFFER[name] for name in buffer)}
    check_known(arrays, known | of_pruner)
    of_samples = state.get("fingerprint")
    if of_samples is not None and fingerprint is not None:
        remedy = f": ids would mean other samples; {SPLIT_ALIKE}"
        check_saved("fingerprint", of_samples, fingerprint, remedy=remedy)
    return saved


def _to_array(value: Any) -> Any:
    """Return a tensor as an array; one that NumPy lacks stays, to be refused."""
    if isinstance(value, Tensor):
        with suppress(TypeError):
            return value.detach().cpu().numpy()
    return value


def _read_plain(state: Mapping[str, Any]) -> dict[str, int]:
    """Check format and version; return the fields of one number."""
    saved = plain_field(state, "format", str)
    version = plain_field(state, "version", int)
    if saved != FORMAT:
        msg = f"`format` must be {FORMAT!r}, saved {saved!r}"
        raise CheckpointError(msg)
    if version not in {1, VERSION}:
        msg = f"`version` must be at most {VERSION}, saved {version}"
        raise CheckpointError(msg)
    plain = {"version": version}
    for name in (_CHECKSUM, "order", "position", *_RANKS):
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
            buffer[name] = torch.from_numpy(array_field(state, saved, like.numpy()))
    received, _, recorded = counters = buffer["counters"].tolist()
    pairs = [(int(buffer["counts"].sum()), recorded)]
    if version > 1:
        pairs.append((int(buffer["deliveries"].sum()), received))
    # 8 bits may have run over.
    agree = all((counted - saved) % 256 == 0 for counted, saved in pairs)
    if min(counters) < 0 or not agree:
        msg = (
            f"`buffer.meters` must agree with the counts, saved {counters} for sums of "
            f"{[counted for counted, _ in pairs]}"
        )
        raise CheckpointError(msg)
    return buffer


@contextmanager
def damage_refused(path: Path) -> Iterator[None]:
    """Refuse a file of sessions that can't be read, or lacks a part."""
    try:
        yield
    except DAMAGE as error:
        msg = (
            f"{path.name!r} must be a whole state of TED, got a damaged file, or "
            f"another's: {type(error).__name__}"
        )
        raise CheckpointError(msg) from error


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
    return _sealed(alike)
