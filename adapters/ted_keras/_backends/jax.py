"""What differs between the backends, for JAX."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import nullcontext
from typing import Any

import jax
import numpy as np
from numpy.typing import NDArray

_ZERO = jax.ShapeDtypeStruct((), np.float32)  # type: ignore[no-untyped-call]


random_numbers_kept = nullcontext  # JAX keeps no state of its own


def random_state() -> None:
    """Return nothing: every layer counts for itself."""


def set_random_state(state: NDArray[np.uint8]) -> None:
    """Leave a state of another backend."""
    del state


def gradient(total: Callable[[Any], Any], at: Any) -> tuple[Any, Any]:
    """Return a detached tensor and the gradient of `total` there."""
    detached = jax.lax.stop_gradient(at)
    return detached, jax.grad(total)(detached)


def tap(value: Any, seen: Callable[[Any, Any], Any]) -> Any:
    """Return `value`; the backward calls ``seen(value, gradient)`` and needs its 0."""

    def forward(x: Any) -> tuple[Any, Any]:
        return x, x

    def backward(x: Any, upstream: Any) -> tuple[Any]:
        return (upstream + jax.numpy.asarray(seen(x, upstream), upstream.dtype),)

    identity = jax.custom_vjp(lambda x: x)
    identity.defvjp(forward, backward)
    return identity(value)


class Store:
    """Sum, code and weight of each sample, in NumPy: a step's state is fixed."""

    def __init__(self, n: int, model: Any) -> None:
        del model
        self._waiting = list[Any]()
        self._table = np.zeros((n, 3), np.float32)

    def add(self, ids: Any, rows: Any) -> Any:
        """Send rows of shape (B, 3) for the samples `ids`, shape (B,); return 0."""
        # A function without effects stays on JAX's fast path: it is called because the
        # step's result needs what it returns.
        # One array: a callback's cost grows with the number of its arguments.
        indices = jax.lax.bitcast_convert_type(ids.astype(np.int32), np.float32)
        packed = jax.numpy.concatenate([indices[:, None], rows], axis=1)
        packed = jax.lax.stop_gradient(packed)
        return jax.pure_callback(self._take, _ZERO, packed)

    def _take(self, packed: Any) -> NDArray[np.float32]:
        self._waiting.append(np.asarray(packed))
        return np.zeros((), np.float32)

    def take(self) -> NDArray[np.float32]:
        """Wait for the device, return the table, and begin another."""
        # A step's state needs the steps before.
        for array in jax.live_arrays():  # type: ignore[no-untyped-call]
            if not array.is_deleted():
                array.block_until_ready()
        found, self._table = self._table, np.zeros_like(self._table)
        if self._waiting:
            packed = np.concatenate([np.asarray(part) for part in self._waiting])
            self._waiting.clear()
            indices = np.ascontiguousarray(packed[:, 0]).view(np.int32)
            np.add.at(found, indices, packed[:, 1:])
        return found

    def put(self, table: NDArray[np.float32]) -> None:
        """Go on from a table that was taken."""
        self._table[...] = table
