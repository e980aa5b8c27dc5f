"""Softmax regression by mini-batch gradient descent, on what the pruner plans."""

from __future__ import annotations

from dataclasses import dataclass
from time import perf_counter

import numpy as np
from numpy.typing import NDArray

from ted_core.demo.datasets import Digits
from ted_core.pruner import Pruner
from ted_core.signals.mask_gradient import cross_entropy_mask_gradient

__all__ = ["Run", "train"]


@dataclass(frozen=True, eq=False)
class Run:
    """What one training brought, measured.

    Parameters
    ----------
    accuracy : float
        Share of the test pictures that are right, in [0, 1].
    forwarded : int
        Samples forwarded, counted.
    full : int
        Samples that full training forwards.
    epoch_seconds : list of float
        Time of each epoch's training loop, planning included.
    keep_ratios : list of float
        Keep ratio of each epoch.
    scores : list of ndarray
        Scores after each epoch, float32, shape (n,).
    visits : ndarray of uint16, shape (n,)
        Epochs that each sample took part in.
    """

    accuracy: float
    forwarded: int
    full: int
    epoch_seconds: list[float]
    keep_ratios: list[float]
    scores: list[NDArray[np.float32]]
    visits: NDArray[np.uint16]

    @property
    def seconds(self) -> float:
        """Time of the whole training loop."""
        return sum(self.epoch_seconds)


def train(
    digits: Digits,
    pruner: Pruner,
    *,
    seed: int,
    batch_size: int = 32,
    learning_rate: float = 0.5,
) -> Run:
    """Train softmax regression through one run of `pruner`.

    Parameters
    ----------
    digits : Digits
        Data.
    pruner : Pruner
        A fresh pruner over the training pictures. Scores are computed only for a
        strategy that uses them: the others must not pay for what they do not need.
    seed : int
        Seed of the initial weights.
    batch_size : int, default 32
        Samples of one step.
    learning_rate : float, default 0.5
        Peak step size; it falls linearly to 0 at ``pruner.total_steps``.

    Returns
    -------
    Run
        Accuracy, counted samples and measured seconds.

    Notes
    -----
    The logits of an epoch's steps are kept and scored by one call: in steps as
    short as these a call in each would cost more time than pruning saves.

    Examples
    --------
    >>> import ted_core as ted
    >>> from ted_core.demo import load_digits, train
    >>> digits = load_digits()
    >>> pruner = ted.Pruner(len(digits.x_train), epochs=5, prune_ratio=0.5)
    >>> train(digits, pruner, seed=0).accuracy > 0.8
    True
    """
    one_hot = np.eye(10)[digits.y_train]
    weights = np.random.default_rng(seed).normal(scale=0.01, size=(64, 10))
    bias = np.zeros(10)
    observes = pruner.config.strategy.uses_scores
    total, step, forwarded = pruner.total_steps(batch_size), 0, 0
    ratios, scores, seconds = [], [], []
    while not pruner.finished:
        start = perf_counter()
        plan = pruner.plan()
        logits = np.empty((len(plan), 10))
        for first in range(0, len(plan), batch_size):
            ids = plan.order[first : first + batch_size]
            x, y = digits.x_train[ids], one_hot[ids]
            z = x @ weights + bias
            p = np.exp(z - z.max(axis=1, keepdims=True))
            p /= p.sum(axis=1, keepdims=True)
            rate = learning_rate * plan.loss_scale * (1 - step / total)
            weights -= rate * x.T @ (p - y) / ids.size
            bias -= rate * (p - y).mean(axis=0)
            if observes:
                logits[first : first + ids.size] = z
            step += 1
            forwarded += ids.size
        if observes:
            labels = digits.y_train[plan.order]
            pruner.observe(plan.order, cross_entropy_mask_gradient(logits, labels))
        pruner.advance()
        seconds.append(perf_counter() - start)
        ratios.append(plan.keep_ratio)
        scores.append(pruner.scores)
    right = (digits.x_test @ weights + bias).argmax(axis=1) == digits.y_test
    return Run(
        accuracy=float(right.mean()),
        forwarded=forwarded,
        full=pruner.n * pruner.epochs,
        epoch_seconds=seconds,
        keep_ratios=ratios,
        scores=scores,
        visits=pruner.update_counts,
    )
