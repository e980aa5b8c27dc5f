"""The core, its oracle, PyTorch, and Keras on each backend make one run."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
import torch
from keras_checks import parity
from keras_checks.parity import BATCH, EPOCHS, OPTIONS, RATE, N, problem, table
from keras_processes import result, start
from oracles.algorithm1 import Ted, kept_by_definition_3
from ted_torch import TED
from torch.nn import functional as F  # noqa: N812
from torch.utils.data import DataLoader, TensorDataset

from ted_core import Pruner

NAMES = [f"parity.{check.__name__}" for check in parity.CHECKS]
SAME_IDS, TRAINED = NAMES


def by_the_core():
    pruner = Pruner(N, **OPTIONS)
    batches, scores = [], []
    while not pruner.finished:
        order = pruner.plan().order
        values = table()[pruner.epoch]
        batches.append([p.tolist() for p in np.split(order, range(BATCH, N, BATCH))])
        batches[-1] = [ids for ids in batches[-1] if ids]
        pruner.observe(order, values[order])
        pruner.advance()
        scores.append(pruner.scores.tolist())
    return {"batches": batches, "scores": scores}


def by_pytorch():
    ted = TED(torch.arange(N), **OPTIONS)
    loader = DataLoader(ted.dataset, batch_size=BATCH, sampler=ted.sampler)
    one = torch.ones(1, requires_grad=True)
    batches, scores = [], []
    for epoch in range(EPOCHS):
        ted.set_epoch(epoch)
        if epoch:
            scores.append(ted.pruner.scores.tolist())
        batches.append([])
        for ids, _ in loader:
            z = one.expand(len(ids), 1) * 1.0
            losses = torch.from_numpy(table()[epoch])[ids] * z[:, 0]
            ted.loss(losses, mask=z, ids=ids).backward()
            batches[-1].append(ids.tolist())
    ted.finish()
    return {"batches": batches, "scores": [*scores, ted.pruner.scores.tolist()]}


def network_by_pytorch():
    x, y, first = map(torch.from_numpy, problem())
    net = torch.nn.Linear(5, 3)
    with torch.no_grad():
        net.weight.copy_(first.T)
        net.bias.zero_()
    optimizer = torch.optim.SGD(net.parameters(), lr=RATE)
    ted = TED(TensorDataset(x, y), **OPTIONS)
    loader = DataLoader(ted.dataset, batch_size=BATCH, sampler=ted.sampler)
    orders, scores = [], []
    for epoch in range(EPOCHS):
        ted.set_epoch(epoch)
        if epoch:
            scores.append(ted.pruner.scores.tolist())
        orders.append(ted.pruner.plan().order.tolist())
        for ids, (inputs, classes) in loader:
            z = net(inputs)
            losses = F.cross_entropy(z, classes, reduction="none")
            optimizer.zero_grad()
            ted.loss(losses, mask=z, ids=ids).backward()
            optimizer.step()
    ted.finish()
    return {"orders": orders, "scores": [*scores, ted.pruner.scores.tolist()]}


def on_keras(group, name):
    if group == "tensorflow":
        return dict(zip(NAMES, parity.CHECKS, strict=True))[name]()
    start(group, NAMES)
    return result(group, name)


def test_the_core_keeps_the_ids_of_its_oracle():
    oracle = Ted(N, alpha=0.9, start="first")
    for epoch, batches in enumerate(by_the_core()["batches"]):
        kept = sorted(itertools.chain.from_iterable(batches))
        ranking = oracle.ranking()
        assert kept == kept_by_definition_3(ranking, len(kept), seed=5, epoch=epoch)
        for k in kept:
            oracle.observe(k, table()[epoch, k])
        oracle.close(kept)


def test_pytorch_trains_on_the_batches_of_the_core():
    assert by_pytorch() == by_the_core()


@pytest.mark.parametrize("group", ["tensorflow", "jax", "torch"])
@pytest.mark.parametrize("name", [SAME_IDS])
def test_keras_trains_on_the_batches_of_the_core(group, name):
    assert on_keras(group, name) == by_the_core()


@pytest.mark.parametrize("group", ["tensorflow", "jax", "torch"])
@pytest.mark.parametrize("name", [TRAINED])
def test_a_network_has_the_values_that_it_has_in_pytorch(group, name):
    found, want = on_keras(group, name), network_by_pytorch()
    assert found["orders"] == want["orders"]
    np.testing.assert_allclose(found["scores"], want["scores"], rtol=2e-4, atol=2e-6)
