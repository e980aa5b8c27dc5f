"""The gallery's trainings: small networks on the digits, on what a pruner plans."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from ted_torch.analysis import flat_weights
from torch import nn
from torch.nn import functional as F  # noqa: N812
from torch.utils.data import TensorDataset

import ted_core as ted
from ted_core.demo import load_digits

__all__ = [
    "EPOCHS",
    "METHODS",
    "PRUNE_RATIO",
    "TRAINING",
    "Trained",
    "load",
    "losses",
    "train",
]

EPOCHS = 40
PRUNE_RATIO = 0.7
TRAINING = {
    "data": "scikit-learn's digits: 1,348 pictures to train on, 449 to test on",
    "network": "64 inputs, 64 ReLU, 10 logits; or 64 inputs, 10 logits",
    "epochs": EPOCHS,
    "prune_ratio": PRUNE_RATIO,
    "batch_size": 32,
    "optimizer": "SGD, momentum 0.9, weight decay 5e-4, 0.05 falling to 0 linearly",
    "scale_loss": "by 1 / r_t; static pruning: no; when_to_prune: both",
}
METHODS = {
    "static random": (None, "loss", ted.Constant(PRUNE_RATIO, anneal=0)),
    "InfoBatch": (ted.InfoBatch(), "loss", ted.Constant(PRUNE_RATIO)),
    "random": (ted.Random(), "loss", None),
    "ε-greedy": (ted.EpsilonGreedy(), "loss", None),
    "UCB": (ted.UCB(), "loss", None),
    "ted_loss": (ted.TopScore(), "loss", None),
    "ted": (ted.TopScore(), "mask_gradient", None),
    "ted, reversed": (ted.TopScore(), "mask_gradient", None),
    "full": (ted.Random(), "loss", ted.Constant(0)),
}
"""Strategy (None: a ranking drawn by the seed), signal, and schedule (None: TED's)."""


@dataclass(frozen=True, eq=False)
class Trained:
    """A network after training, its weights before, and how often samples were kept."""

    model: nn.Module
    first: np.ndarray
    visits: np.ndarray
    forwarded: int


def losses(z, y):
    """Return each sample's cross entropy."""
    return F.cross_entropy(z, y, reduction="none")


def load():
    """Return the training and the test set as tensors."""
    digits = load_digits()
    return tuple(
        TensorDataset(torch.tensor(x, dtype=torch.float32), torch.tensor(y))
        for x, y in (
            (digits.x_train, digits.y_train),
            (digits.x_test, digits.y_test),
        )
    )


def network(hidden):
    """Return a network with a hidden layer, or without."""
    if not hidden:
        return nn.Linear(64, 10)
    return nn.Sequential(nn.Linear(64, hidden), nn.ReLU(), nn.Linear(hidden, 10))


def train(
    data,
    method,
    seed,
    *,
    schedule=None,
    hidden=64,
    scale_loss=True,
    each_epoch=None,
):
    """Train one network; `each_epoch(model, plan)` looks at it before each epoch."""
    strategy, signal, own = METHODS[method]
    drawn = np.random.default_rng(seed).random(len(data))
    pruner = ted.Pruner(
        len(data),
        epochs=EPOCHS,
        schedule=schedule or own or ted.RollerCoaster(PRUNE_RATIO),
        strategy=strategy or ted.Static(drawn),
        signal=signal,
        seed=seed,
        scale_loss=scale_loss and method != "static random",
    )
    torch.manual_seed(seed)
    model = network(hidden)
    first, visits, forwarded = flat_weights(model), np.zeros(len(data), int), 0
    optimizer = torch.optim.SGD(
        model.parameters(), lr=0.05, momentum=0.9, weight_decay=5e-4
    )
    sign = -1 if method == "ted, reversed" else 1
    while not pruner.finished:
        plan = pruner.plan()
        if each_epoch is not None:
            each_epoch(model, plan)
        observed = epoch(model, optimizer, data, plan)
        values = ted.signals.compute(signal, **observed)
        pruner.observe(plan.order, sign * values.numpy())
        visits[plan.order] += 1
        forwarded += len(plan)
        pruner.advance()
    return Trained(model, first, visits, forwarded)


def epoch(model, optimizer, data, plan):
    """Train one epoch; return its logits, labels and losses in the plan's order."""
    order = torch.from_numpy(plan.order.astype(np.int64))
    weights = torch.ones(len(plan))
    if plan.weights is not None:
        weights = torch.tensor(plan.weights)
    x, y = (tensor[order] for tensor in data.tensors)
    logits = torch.empty(len(plan), 10)
    size = TRAINING["batch_size"]
    for start in range(0, len(plan), size):
        part = slice(start, start + size)
        progress = (plan.epoch + start / len(plan)) / plan.epochs
        for group in optimizer.param_groups:
            group["lr"] = 0.05 * (1 - progress)
        z = model(x[part])
        loss = (weights[part] * losses(z, y[part])).mean() * plan.loss_scale
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        logits[part] = z.detach()
    return {"logits": logits, "labels": y, "losses": losses(logits, y)}
