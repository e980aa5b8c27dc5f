"""The demo's training without a framework: softmax regression in NumPy."""

from __future__ import annotations

import numpy as np

from ted_core.demo.datasets import Digits
from ted_core.demo.engine import Training
from ted_core.pruner import Pruner
from ted_core.signals.mask_gradient import cross_entropy_mask_gradient

_BATCH_SIZE = 32
_LEARNING_RATE = 0.5  # at the first step; it falls linearly to 0


class SoftmaxTraining(Training):
    """Softmax regression by mini-batch gradient descent, on what the pruner plans."""

    def __init__(self, digits: Digits, pruner: Pruner, *, seed: int) -> None:
        super().__init__(pruner.n, pruner.epochs, pruner)
        self._digits, self._plans = digits, pruner
        self._one_hot = np.eye(10)[digits.y_train]
        self._weights = np.random.default_rng(seed).normal(scale=0.01, size=(64, 10))
        self._bias = np.zeros(10)
        self._step, self._steps = 0, pruner.total_steps(_BATCH_SIZE)

    def train_epoch(self) -> int:
        """Train on this epoch's plan, then observe its logits and advance."""
        digits, pruner, size = self._digits, self._plans, _BATCH_SIZE
        # Only a strategy that uses scores pays for them. One call scores the logits
        # of all steps: a call in each of these short steps would cost more time than
        # pruning saves.
        observes = pruner.config.strategy.uses_scores
        plan = pruner.plan()
        logits = np.empty((len(plan), 10))
        for first in range(0, len(plan), size):
            ids = plan.order[first : first + size]
            x, y = digits.x_train[ids], self._one_hot[ids]
            z = x @ self._weights + self._bias
            p = np.exp(z - z.max(axis=1, keepdims=True))
            p /= p.sum(axis=1, keepdims=True)
            decay = 1 - self._step / self._steps
            rate = _LEARNING_RATE * plan.loss_scale * decay
            self._weights -= rate * x.T @ (p - y) / ids.size
            self._bias -= rate * (p - y).mean(axis=0)
            if observes:
                logits[first : first + ids.size] = z
            self._step += 1
        if observes:
            labels = digits.y_train[plan.order]
            pruner.observe(plan.order, cross_entropy_mask_gradient(logits, labels))
        pruner.advance()
        return len(plan)

    def accuracy(self) -> float:
        """Return the share of the test pictures that are right."""
        found = (self._digits.x_test @ self._weights + self._bias).argmax(axis=1)
        return float((found == self._digits.y_test).mean())
