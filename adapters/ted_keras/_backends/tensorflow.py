"""What differs between the backends, for TensorFlow."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
import tensorflow as tf
from numpy.typing import NDArray
from tensorflow.python.eager.context import context
from tensorflow.python.ops import stateful_random_ops

_ASIDE = 1_234_567_891  # a seed that a user will hardly give


def gradient(total: Callable[[Any], Any], at: Any) -> tuple[Any, Any]:
    """Return a detached tensor and the gradient of `total` there."""
    # Keras reads the logits off a softmax output: a new tensor has none.
    detached = tf.identity(tf.stop_gradient(at))
    with tf.GradientTape(watch_accessed_variables=False) as tape:
        tape.watch(detached)
        value = total(detached)
    return detached, tape.gradient(
        value, detached, unconnected_gradients=tf.UnconnectedGradients.ZERO
    )


def tap(value: Any, seen: Callable[[Any, Any], Any]) -> Any:
    """Return `value`; the backward calls ``seen(value, gradient)``."""

    @tf.custom_gradient  # type: ignore[untyped-decorator]
    def identity(x: Any) -> tuple[Any, Callable[[Any], Any]]:
        def backward(upstream: Any) -> Any:
            seen(x, upstream)
            return upstream

        return tf.identity(x), backward

    return identity(value)


@contextmanager
def random_numbers_kept() -> Iterator[None]:
    """Let what runs in here change no random number that comes after it."""
    # An eager operation is given the context's next seed, and one of the same seed goes
    # on where it ended: in here all have other seeds. No public function reads them.
    seeds, aside = vars(context()), {"_seed": _ASIDE, "_rng": random.Random(_ASIDE)}  # noqa: S311
    kept = {name: seeds[name] for name in aside.keys() & seeds.keys()}
    seeds.update(aside)
    generator = getattr(stateful_random_ops, "global_generator", None)
    state = None if generator is None else tf.identity(generator.state)
    try:
        yield
    finally:
        seeds.update(kept)
        if generator is not None:
            generator.state.assign(state)


def random_state() -> None:
    """Return nothing: every layer counts for itself."""


def set_random_state(state: NDArray[np.uint8]) -> None:
    """Leave a state of another backend."""
    del state


class Store:
    """Sum, code and weight of each sample: a variable (n, 3) on each replica."""

    def __init__(self, n: int, model: Any) -> None:
        self._strategy = model.distribute_strategy
        how: dict[str, Any] = {}
        if self._strategy.num_replicas_in_sync > 1:
            how["synchronization"] = tf.VariableSynchronization.ON_READ
            how["aggregation"] = tf.VariableAggregation.SUM
        with self._strategy.scope():
            table = tf.Variable(tf.zeros((n, 3)), trainable=False, **how)
        self._tables = self._strategy.experimental_local_results(table)

    def add(self, ids: Any, rows: Any) -> Any:
        """Add rows of shape (B, 3) to the samples `ids`, shape (B,); return 0."""
        replica = tf.distribute.get_replica_context().replica_id_in_sync_group
        table = self._tables[int(tf.get_static_value(replica))]
        table.scatter_nd_add(ids[:, None], rows)
        return 0.0

    def take(self) -> NDArray[np.float32]:
        """Wait for the devices, return the sum of the tables, and write zeros."""
        found: NDArray[np.float32] = sum(table.numpy() for table in self._tables)
        for table in self._tables:
            table.assign(tf.zeros_like(table))
        return found

    def put(self, table: NDArray[np.float32]) -> None:
        """Go on from a table that was taken."""
        self._tables[0].assign(table)
