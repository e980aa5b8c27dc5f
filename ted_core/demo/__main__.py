"""The demonstration without a framework: a network in NumPy, in a loop of one's own."""

from __future__ import annotations

import itertools
import sys
from collections.abc import Sequence
from typing import Any

import numpy as np

from ted_core import signals
from ted_core.demo import engine
from ted_core.demo.datasets import Task
from ted_core.pruner import Pruner
from ted_core.signals import _formulas


def fit(
    task: Task, *, seed: int, epochs: int, lr: float, **options: Any
) -> tuple[float, Pruner]:
    """Train once by SGD, on what the pruner plans."""
    rng = np.random.default_rng(seed)
    sizes = (task.x_train.shape[1], engine.WIDTH, engine.WIDTH, task.classes)
    parameters = [
        rng.normal(scale=np.sqrt(2 / shape[0]), size=shape).astype(np.float32)
        for shape in itertools.pairwise(sizes)
    ]
    parameters += [np.zeros(size, np.float32) for size in sizes[1:]]
    velocities = [np.zeros_like(part) for part in parameters]
    pruner = Pruner(len(task.y_train), epochs=epochs, seed=seed, **options)
    scored, signal = pruner.config.strategy.uses_scores, pruner.config.signal
    rate_at = engine.one_cycle(lr, pruner.total_steps(task.batch_size))
    step = 0
    while not pruner.finished:
        plan = pruner.plan()
        for first in range(0, len(plan), task.batch_size):
            ids = plan.order[first : first + task.batch_size]
            y = task.y_train[ids]
            layers = _forward(parameters, task.x_train[ids])
            logits = layers[-1]
            log_p = _formulas.log_softmax(np, logits)
            if scored:
                losses = -log_p[np.arange(len(y)), y]
                values = {"losses": losses, "logits": logits, "labels": y}
                own = {name: values[name] for name in signals.INPUTS[signal]}
                pruner.observe(ids, signals.compute(signal, **own))
            error = np.exp(log_p)
            error[np.arange(len(y)), y] -= 1
            error *= plan.loss_scale / len(y)
            rate = np.float32(rate_at(step))
            for layer in reversed(range(3)):
                weights = parameters[layer]
                gradients = layers[layer].T @ error, error.sum(axis=0)
                error = (error @ weights.T) * (layers[layer] > 0)
                for index, gradient in zip((layer, layer + 3), gradients, strict=True):
                    part, velocity = parameters[index], velocities[index]
                    full = gradient + np.float32(engine.WEIGHT_DECAY) * part
                    velocity *= np.float32(engine.MOMENTUM)
                    velocity += full
                    part -= rate * (full + np.float32(engine.MOMENTUM) * velocity)
            step += 1
        pruner.advance()
    found = _forward(parameters, task.x_test)[-1].argmax(axis=1)
    return 100 * float((found == task.y_test).mean()), pruner


def _forward(parameters: Sequence[Any], x: Any) -> list[Any]:
    """Return the inputs of each layer, and the logits."""
    layers = [x]
    for layer in range(3):
        x = x @ parameters[layer] + parameters[layer + 3]
        layers.append(np.maximum(x, 0) if layer < 2 else x)  # noqa: PLR2004 - the last
        x = layers[-1]
    return layers


def main(argv: Sequence[str] | None = None) -> int:
    """Run the demonstration."""
    parser = engine.make_parser("python -m ted_core.demo", seeds=6)
    engine.run_demo(parser, engine.parse(parser, argv), fit)
    return 0


if __name__ == "__main__":
    sys.exit(main())
