"""A session's state: tensors and plain values, read back with every field checked."""

from __future__ import annotations

import zlib
from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from torch import Tensor

from ted_core import CheckpointError
from ted_core.typing import State
from ted_torch.buffer import EpochBuffer
from ted_torch.ranks import Ranks

__all__ = [
    "FORMAT",
    "VERSION",
    "check_whole",
    "read_session",
    "sealed",
    "write_session",
]

FORMAT = "ted_torch.TED"
"""What a session's state calls itself."""

VERSION = 1
"""Version of the state that this library writes."""

_BUFFER = ("sums", "counts", "meters")
_RANKS = ("num_replicas", "rank")
_PLAIN = ("order", "position")
_CHECKSUM = "checksum"
_CORE = "pruner."


def write_session(
    pruner: State, buffer: EpochBuffer, ranks: Ranks, plain: Mapping[str, int]
) -> dict[str, Any]:
    """Return the flat state of a session.

    Parameters
    ----------
    pruner : dict
        The pruner's state.
    buffer : EpochBuffer
        What the open epoch has recorded.
    ranks : Ranks
        Whose part of the epoch that is.
    plain : mapping of str to int
        ``order``, the checksum of the open epoch's order, and ``position``, how many
        ids of it are passed; 0 if the run has finished.

    Returns
    -------
    dict of str to Tensor, str, int, float or bool
        Tensors on the CPU, copied, and a checksum of it all; ``torch.load`` takes it
        with ``weights_only=True``.
    """
    state: dict[str, Any] = {"format": FORMAT, "version": VERSION}
    state |= {name: plain[name] for name in _PLAIN}
    state |= {name: getattr(ranks, name) for name in _RANKS}
    for name in (*_BUFFER, "shares"):
        tensor: Tensor | None = getattr(buffer, name)
        if tensor is None:
            continue
        state[f"buffer.{name}"] = tensor.detach().to("cpu", copy=True)
    for name, value in pruner.items():
        array = isinstance(value, np.ndarray)
        state[_CORE + name] = torch.from_numpy(value) if array else value
    return sealed(state)


def sealed(state: Mapping[str, Any]) -> dict[str, Any]:
    """Return a state with its checksum, in place of the one it had.

    Parameters
    ----------
    state : mapping
        A session's state, changed on purpose.

    Returns
    -------
    dict of str to Tensor, str, int, float or bool
        The same fields, uncopied.
    """
    return {**state, _CHECKSUM: _checksum(state)}


def check_whole(state: Mapping[str, Any]) -> None:
    """Refuse a state whose bits are not those that were saved.

    Parameters
    ----------
    state : mapping
        What :func:`read_session` and the pruner have found nothing wrong with.

    Raises
    ------
    CheckpointError
        The checksum differs.

    Notes
    -----
    PyTorch reads its files without checking them: a flipped bit of a score would be a
    score like any other. O(n).
    """
    here = _checksum(state)
    if state[_CHECKSUM] != here:
        msg = (
            f"`{_CHECKSUM}` must be that of the state, saved {state[_CHECKSUM]}, here "
            f"{here}: the state was damaged or changed; take an older one"
        )
        raise CheckpointError(msg)


def read_session(
    state: Mapping[str, Any], n: int, ranks: Ranks
) -> tuple[State, dict[str, Tensor], dict[str, int]]:
    """Check a session's fields and take the state apart.

    Parameters
    ----------
    state : mapping
        What :func:`write_session` returned.
    n : int
        Samples in the data set.
    ranks : Ranks
        This process; in an open epoch it must be the one that saved.

    Returns
    -------
    pruner : dict
        The pruner's state, still to be checked by the pruner.
    buffer : dict of str to Tensor
        The buffer's tensors, on the CPU.
    plain : dict of str to int
        Checksum of the open epoch's ``order``, and ``position`` in it.

    Raises
    ------
    TypeError
        `state` is no mapping.
    CheckpointError
        A field is missing, unknown, or does not fit.
    """
    if not isinstance(state, Mapping):
        msg = f"`state` must be a mapping, got {type(state).__name__}"
        raise TypeError(msg)
    _check_header(state)
    buffer = _read_buffer(state, n)
    _check_ranks(state, buffer, ranks)
    known = {"format", "version", _CHECKSUM, *_PLAIN, *_RANKS}
    known |= {f"buffer.{name}" for name in buffer}
    pruner: State = {}
    for name, value in state.items():
        if isinstance(name, str) and name.startswith(_CORE):
            # What NumPy does not have goes on as it is: the pruner refuses it.
            tensor = isinstance(value, Tensor) and value.dtype != torch.bfloat16
            field = value.detach().cpu().numpy() if tensor else value
            pruner[name.removeprefix(_CORE)] = field
        elif name not in known:
            msg = f"`state` must hold known fields only, got {name}"
            raise CheckpointError(msg)
    return pruner, buffer, {name: state[name] for name in _PLAIN}


def _check_header(state: Mapping[str, Any]) -> None:
    needed = {"format", "version", _CHECKSUM, *_PLAIN, *_RANKS}
    needed |= {f"buffer.{name}" for name in _BUFFER}
    for name in sorted(needed - state.keys()):
        msg = f"`state` must have {name!r}, got only {sorted(map(str, state))}"
        raise CheckpointError(msg)
    for name, rule in (("format", FORMAT), ("version", VERSION)):
        if type(state[name]) is not type(rule) or state[name] != rule:
            msg = f"`{name}` must be {rule!r}, saved {state[name]!r}"
            raise CheckpointError(msg)
    for name in (_CHECKSUM, *_PLAIN, *_RANKS):
        if type(state[name]) is not int or state[name] < 0:
            msg = f"`{name}` must be an int, at least 0, saved {state[name]!r}"
            raise CheckpointError(msg)


def _read_buffer(state: Mapping[str, Any], n: int) -> dict[str, Tensor]:
    here = EpochBuffer(n)
    buffer = {name: _tensor(state, name, getattr(here, name)) for name in _BUFFER}
    if "buffer.shares" in state:
        buffer["shares"] = _tensor(state, "shares", here.sums)
    counted, recorded = int(buffer["counts"].sum()), int(buffer["meters"][2])
    if int(buffer["meters"].min()) < 0 or counted % 256 != recorded % 256:
        msg = (
            "`buffer.meters` must agree with the counts, saved "
            f"{buffer['meters'].tolist()} for a sum of {counted}"
        )
        raise CheckpointError(msg)
    return buffer


def _tensor(state: Mapping[str, Any], name: str, like: Tensor) -> Tensor:
    value = state[f"buffer.{name}"]
    if (
        not isinstance(value, Tensor)
        or value.dtype != like.dtype
        or value.shape != like.shape
    ):
        found = type(value).__name__
        if isinstance(value, Tensor):
            found = f"{value.dtype} of shape {tuple(value.shape)}"
        msg = (
            f"`buffer.{name}` must be {like.dtype} of shape {tuple(like.shape)}, saved "
            f"{found}"
        )
        raise CheckpointError(msg)
    return value.cpu()


def _check_ranks(
    state: Mapping[str, Any], buffer: Mapping[str, Tensor], ranks: Ranks
) -> None:
    if not int(buffer["meters"][0]):
        return
    for name in _RANKS:
        if state[name] != getattr(ranks, name):
            msg = (
                f"`{name}` must be the saved one while an epoch is open, saved "
                f"{state[name]}, here {getattr(ranks, name)}; save on every rank, or "
                "after `set_epoch` of the next epoch"
            )
            raise CheckpointError(msg)


def _checksum(state: Mapping[str, Any]) -> int:
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
