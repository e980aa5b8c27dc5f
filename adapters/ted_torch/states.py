"""A session's state: tensors and plain values, read back with every field checked."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from torch import Tensor

from ted_core import CheckpointError
from ted_core.typing import State
from ted_torch.buffers import EpochBuffer

__all__ = ["FORMAT", "VERSION", "read_session", "write_session"]

FORMAT = "ted_torch.TED"
"""What a session's state calls itself."""

VERSION = 1
"""Version of the state that this library writes."""

_BUFFER = ("sums", "counts", "meters")
_CORE = "pruner."


def write_session(pruner: State, buffer: EpochBuffer, checksum: int) -> dict[str, Any]:
    """Return the flat state of a session.

    Parameters
    ----------
    pruner : dict
        The pruner's state.
    buffer : EpochBuffer
        What the open epoch has recorded.
    checksum : int
        Of the open epoch's order; 0 if the run has finished.

    Returns
    -------
    dict of str to Tensor, str, int, float or bool
        Tensors on the CPU, copied; ``torch.load`` takes it with
        ``weights_only=True``.
    """
    state: dict[str, Any] = {"format": FORMAT, "version": VERSION, "order": checksum}
    for name in _BUFFER:
        tensor: Tensor = getattr(buffer, name)
        state[f"buffer.{name}"] = tensor.detach().to("cpu", copy=True)
    for name, value in pruner.items():
        plain = not isinstance(value, np.ndarray)
        state[_CORE + name] = value if plain else torch.from_numpy(value)
    return state


def read_session(
    state: Mapping[str, Any], n: int
) -> tuple[State, dict[str, Tensor], int]:
    """Check a session's fields and take the state apart.

    Parameters
    ----------
    state : mapping
        What :func:`write_session` returned.
    n : int
        Samples in the data set.

    Returns
    -------
    pruner : dict
        The pruner's state, still to be checked by the pruner.
    buffer : dict of str to Tensor
        The buffer's tensors, on the CPU.
    checksum : int
        Of the open epoch's order.

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
    here = EpochBuffer(n)
    known = {"format", "version", "order", *(f"buffer.{name}" for name in _BUFFER)}
    for name in sorted(known - state.keys()):
        msg = f"`state` must have {name!r}, got only {sorted(map(str, state))}"
        raise CheckpointError(msg)
    for name, rule in (("format", FORMAT), ("version", VERSION)):
        if state[name] != rule:
            msg = f"`{name}` must be {rule!r}, saved {state[name]!r}"
            raise CheckpointError(msg)
    if type(state["order"]) is not int:
        msg = f"`order` must be int, saved {state['order']!r}"
        raise CheckpointError(msg)
    buffer = {name: _tensor(state, name, getattr(here, name)) for name in _BUFFER}
    counted, recorded = int(buffer["counts"].sum()), int(buffer["meters"][2])
    if int(buffer["meters"].min()) < 0 or counted % 256 != recorded % 256:
        msg = (
            "`buffer.meters` must agree with the counts, saved "
            f"{buffer['meters'].tolist()} for a sum of {counted}"
        )
        raise CheckpointError(msg)
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
    return pruner, buffer, state["order"]


def _tensor(state: Mapping[str, Any], name: str, like: Tensor) -> Tensor:
    value = state[f"buffer.{name}"]
    if (
        not isinstance(value, Tensor)
        or value.dtype != like.dtype
        or value.shape != like.shape
    ):
        found = getattr(value, "dtype", type(value).__name__)
        msg = (
            f"`buffer.{name}` must be {like.dtype} of shape {tuple(like.shape)}, saved "
            f"{found} of shape {tuple(getattr(value, 'shape', ()))}"
        )
        raise CheckpointError(msg)
    return value.cpu()
