"""What differs between the backends, for PyTorch."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager
from typing import Any

import numpy as np
import torch
from keras import ops
from numpy.typing import NDArray


def gradient(total: Callable[[Any], Any], at: Any) -> tuple[Any, Any]:
    """Return a detached tensor and the gradient of `total` there."""
    with torch.enable_grad():
        detached = at.detach().requires_grad_()
        (found,) = torch.autograd.grad(total(detached), detached)
    return detached.detach(), found


def tap(value: Any, seen: Callable[[Any, Any], Any]) -> Any:
    """Return `value`; the backward calls ``seen(value, gradient)``."""
    if not value.requires_grad:
        return value
    out = value.view_as(value)
    kept = value.detach()

    def backward(upstream: Any) -> None:
        seen(kept, upstream)

    out.register_hook(backward)
    return out


def random_numbers_kept() -> AbstractContextManager[None]:
    """Give the default generator of each device back as it was."""
    return torch.random.fork_rng(range(torch.cuda.device_count()))


def random_state() -> NDArray[np.uint8]:
    """Return the state of the default generators: the CPU's, and Keras' device's."""
    states = [torch.get_rng_state()]
    if torch.cuda.is_available():
        states.append(torch.cuda.get_rng_state())
    return np.concatenate([state.numpy() for state in states])


def set_random_state(state: NDArray[np.uint8]) -> None:
    """Let the default generators go on from a state."""
    size = torch.get_rng_state().numel()
    cpu, device = torch.from_numpy(state.copy()).tensor_split([size])
    torch.set_rng_state(cpu)
    if device.numel() and torch.cuda.is_available():
        torch.cuda.set_rng_state(device)


class Store:
    """Sum, code and weight of each sample: a tensor (n, 3) on Keras' device."""

    def __init__(self, n: int, model: Any) -> None:
        del model
        self._table = ops.zeros((n, 3), dtype="float32")

    def add(self, ids: Any, rows: Any) -> Any:
        """Add rows of shape (B, 3) to the samples `ids`, shape (B,); return 0."""
        self._table.index_add_(0, ids, rows.detach())
        return 0.0

    def take(self) -> NDArray[np.float32]:
        """Wait for the device, return the table, and write zeros."""
        found = np.array(self._table.cpu().numpy(), np.float32)
        self._table.zero_()
        return found

    def put(self, table: NDArray[np.float32]) -> None:
        """Go on from a table that was taken."""
        self._table.copy_(torch.from_numpy(table))
