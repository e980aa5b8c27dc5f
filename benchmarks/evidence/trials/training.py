"""One run: the function that ``ted_core.compare`` calls."""

from __future__ import annotations

import math

import torch
from ted_torch import TED
from torch.nn import functional as F  # noqa: N812 - PyTorch's own habit

__all__ = ["measure", "run", "train"]

SOLVED = 0.01
"""Loss below which a sample is solved."""


def train(setting, data, *, seed, lr, epochs, **options):
    """Train one network; return its accuracy in % and the session."""
    session, network, _ = run(setting, data, seed=seed, lr=lr, epochs=epochs, **options)
    return measure(network, data.test())["accuracy"], session


def run(setting, data, *, seed, lr, epochs, stop=None, **options):
    """Train a network, its first `stop` epochs say; return session, network, losses.

    The losses are the means of what each epoch trained on, before 1 / r_t.
    """
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        network = setting.network()
    ted = TED(range(len(data)), epochs=epochs, seed=seed, **options)
    optimizer = make_optimizer(setting, network, lr)
    dice = torch.Generator().manual_seed(seed)
    steps, step = ted.total_steps(setting.batch), 0
    config = ted.pruner.config
    means = []
    for epoch in range(epochs if stop is None else stop):
        ted.set_epoch(epoch)
        order = torch.tensor(list(ted.sampler))
        total = 0.0
        parts = split(order, setting.batch, even=setting.even)
        for ids, x, y in joined(data.batches(parts, dice)):
            for group in optimizer.param_groups:
                group["lr"] = lr * one_cycle(step / steps)
            logits = network(x)
            losses = F.cross_entropy(logits, y, reduction="none")
            inputs = {}
            if config.signal == "mask_gradient" and config.strategy.uses_scores:
                inputs = {"mask": logits}
            elif config.strategy.uses_scores:
                inputs = {"logits": logits.detach(), "labels": y}
            optimizer.zero_grad()
            ted.loss(losses, ids=ids, **inputs).backward()
            optimizer.step()
            total += losses.detach().sum()
            step += 1
        means.append(float(total) / len(order))
    if stop is None:
        ted.finish()
    return ted, network, means


def split(order, size, *, even):
    """Return an epoch's batches; if `even` all of one size, give or take a sample."""
    if even:
        return order.tensor_split(math.ceil(len(order) / size))
    return order.split(size)


def joined(batches):
    """Join a last batch of one sample, which batch norm refuses, to the one before."""
    before = None
    for batch in batches:
        if before is None:
            before = batch
        elif len(batch[0]) > 1:
            yield before
            before = batch
        else:
            before = tuple(map(torch.cat, zip(before, batch, strict=True)))
    yield before


def make_optimizer(setting, network, lr):
    """Return the setting's optimizer."""
    options = {"lr": lr, "weight_decay": setting.weight_decay, "fused": True}
    if setting.optimizer == "adamw":
        return torch.optim.AdamW(network.parameters(), **options)
    return torch.optim.SGD(network.parameters(), momentum=0.9, nesterov=True, **options)


def one_cycle(progress, *, rise=0.3, first=0.04):
    """Return the share of the peak rate at `progress`: up and down a cosine."""
    if progress < rise:
        return first + (1 - first) * (1 - math.cos(math.pi * progress / rise)) / 2
    return (1 + math.cos(math.pi * (progress - rise) / (1 - rise))) / 2


@torch.no_grad()
def measure(network, batches):
    """Return accuracy in %, mean loss and the share of losses below 0.01, in %."""
    network.eval()
    right, losses = 0, []
    for x, y in batches:
        logits = network(x)
        right += int((logits.argmax(1) == y).sum())
        losses.append(F.cross_entropy(logits, y, reduction="none"))
    network.train()
    losses = torch.cat(losses)
    return {
        "accuracy": 100 * right / len(losses),
        "loss": float(losses.mean()),
        "solved": 100 * float((losses < SOLVED).float().mean()),
    }
