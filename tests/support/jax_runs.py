"""Training with JAX and Grain as the page tells it, for the tests of several files."""

from __future__ import annotations

from functools import partial
from itertools import islice

import grain
import jax
import jax.numpy as jnp
import numpy as np
from jax.experimental.multihost_utils import process_allgather
from jax.sharding import Mesh, NamedSharding, PartitionSpec

import ted_core

__all__ = ["JaxAdapter", "Training", "give", "points", "read"]

FEATURES, CLASSES = 6, 4
WITHOUT_THREADS = grain.ReadOptions(num_threads=0, prefetch_buffer_size=0)


def read(plan, source):
    """Give ids, weights and items in the plan's order."""
    weights = np.ones(len(plan)) if plan.weights is None else plan.weights
    weights = weights.astype(np.float32)
    data = grain.MapDataset.source(plan.order)
    return data.map_with_index(lambda i, k: (k, weights[i], source[k]))


def give(pruner, seen):
    """Give the pruner all that was gathered on the devices, of all processes."""
    if seen:
        parts = [jnp.concatenate(part) for part in zip(*seen, strict=True)]
        pruner.observe(*process_allgather(parts, tiled=True))
        seen.clear()


def points(n, seed=5):
    """Give n points and their classes, as a source that Grain may index."""
    rng = np.random.default_rng(seed)
    y = rng.integers(0, CLASSES, size=n).astype(np.int32)
    x = rng.normal(size=(n, FEATURES)) + 2 * np.eye(CLASSES, FEATURES)[y]
    return list(zip(x.astype(np.float32), y, strict=True))


class JaxAdapter:
    """A loop of one's own with JAX as the suite drives it.

    Sample k's logit is a parameter of its own, and its loss the logit: the value is
    |h_k|, the gradient of a mask delta that the backward of the weights gives as well.
    """

    def start(self, n, *, batch_size, **options):
        self.pruner, self.batch_size = ted_core.Pruner(n, **options), batch_size
        self.position, self.seen = 0, []

    def run_epoch(self, epoch, values, *, steps=None):
        if epoch == self.pruner.epoch + 1:
            give(self.pruner, self.seen)
            self.pruner.advance()
            self.position = 0
        plan, trained = self.pruner.plan(), []
        signs = 1 - 2 * (np.arange(values.size) % 2)
        # In float64, so that dividing by c_k leaves each float32 as it was.
        with jax.enable_x64(True):  # noqa: FBT003 - JAX's signature
            data = read(plan, signs * values.astype(float))[self.position :]
            data = data.batch(self.batch_size).to_iter_dataset(WITHOUT_THREADS)
            for ids, weights, h in islice(data, steps):
                total, mean, found = _step(h, weights.astype(float), plan.loss_scale)
                self.scale = float(total / mean)
                self.seen.append((ids, found))
                self.position += len(ids)
                trained.append(ids.astype(np.int64))
        return trained

    def finish(self):
        give(self.pruner, self.seen)
        self.pruner.finish()

    def total_steps(self):
        return self.pruner.total_steps(self.batch_size)

    def loss_scale(self):
        return self.scale

    def save(self):
        give(self.pruner, self.seen)
        return {**self.pruner.state_dict(), "position": self.position}

    def restore(self, saved):
        state = dict(saved)
        self.position = state.pop("position")
        self.pruner.load_state_dict(state)

    def core_state(self):
        give(self.pruner, self.seen)
        return self.pruner.state_dict()


@jax.jit
def _step(h, weights, loss_scale):
    """Give the total, the mean loss, and each sample's value, of one backward."""

    def total(delta):
        losses = 3 + delta * h
        return loss_scale * (weights * losses).mean(), losses.mean()

    (value, mean), d = jax.value_and_grad(total, has_aux=True)(jnp.ones_like(h))
    c = loss_scale * weights / len(h)  # what the total multiplies each loss by
    return value, mean, ted_core.mask_gradient(jnp.ones_like(h), d, loss_gradient=c)


class Training:
    """A small network over all devices of all processes, saved as the docs say."""

    def __init__(self, n=64, *, epochs=5, batch=16, rate=0.2, **options):
        self.source, self.batch, self.rate = points(n), batch, rate
        options = {"prune_ratio": 0.6, "seed": 4, "multiple_of": batch} | options
        self.pruner = ted_core.Pruner(n, epochs=epochs, **options)
        self.steps = self.pruner.total_steps(batch)
        rng = np.random.default_rng(1)
        sizes = {"in": (FEATURES, 8), "out": (8, CLASSES)}
        weights = {k: rng.normal(size=s).astype("float32") for k, s in sizes.items()}
        mesh = Mesh(jax.devices(), ("data",))
        self.split = NamedSharding(mesh, PartitionSpec("data"))
        whole = NamedSharding(mesh, PartitionSpec())
        velocity = jax.tree.map(jnp.zeros_like, weights)
        self.state = jax.device_put((weights, velocity), whole)
        self.done = self.position = 0
        self.seen, self.forwarded = [], []

    def run(self):
        """Train to the end; yield before and after each step."""
        signal = self.pruner.config.signal
        process, processes = jax.process_index(), jax.process_count()
        while not self.pruner.finished:
            plan = self.pruner.plan()
            data = read(plan, self.source)[self.position + process :: processes]
            # All processes take the same number of steps, of whole batches.
            several = {"drop_remainder": processes > 1}
            for local in data.batch(self.batch // processes, **several):
                yield "begin"
                ids, weights, (x, y) = jax.make_array_from_process_local_data(
                    self.split, local
                )
                rate = self.rate * (1 - self.done / self.steps)
                numbers = weights, plan.loss_scale, rate
                self.state, values = train_step(self.state, x, y, numbers, signal)
                self.seen.append((ids, values))
                self.forwarded.append(local[0].tolist())
                self.done += 1
                self.position += ids.size
                yield "end"
            give(self.pruner, self.seen)
            self.pruner.advance()
            self.position = 0

    def save(self, path):
        give(self.pruner, self.seen)
        arrays = {
            f"model.{k}": np.asarray(leaf)
            for k, leaf in enumerate(jax.tree.leaves(self.state))
        }
        own = {"done": self.done, "position": self.position, **arrays}
        ted_core.save_state(path, {**self.pruner.state_dict(), **own})

    def load(self, path):
        saved = ted_core.load_state(path)
        self.done, self.position = saved.pop("done"), saved.pop("position")
        leaves, shape = jax.tree.flatten(self.state)
        loaded = [saved.pop(f"model.{k}") for k in range(len(leaves))]
        self.state = jax.tree.unflatten(
            shape, jax.device_put(loaded, [leaf.sharding for leaf in leaves])
        )
        self.pruner.load_state_dict(saved)


@partial(jax.jit, static_argnames="signal")
def train_step(state, x, y, numbers, signal):
    """Take a step of SGD with momentum; give the new state and a value a sample."""
    parameters, velocity = state
    weights, loss_scale, rate = numbers

    def total(parameters):
        hidden = jnp.tanh(x @ parameters["in"])
        z = hidden @ parameters["out"]
        losses = -jax.nn.log_softmax(z)[jnp.arange(len(y)), y]
        return loss_scale * (weights * losses).mean(), (losses, z, hidden)

    gradient, (losses, z, hidden) = jax.grad(total, has_aux=True)(parameters)
    values = ted_core.signals.compute(
        signal, losses=losses, logits=z, labels=y, hidden=hidden, bias=False
    )
    velocity = jax.tree.map(lambda v, g: 0.9 * v + g, velocity, gradient)
    parameters = jax.tree.map(lambda p, v: p - rate * v, parameters, velocity)
    return (parameters, velocity), values
