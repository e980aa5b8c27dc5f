"""The core, its oracle, PyTorch, and Keras on each backend make one run."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
import torch
from keras_checks import parity
from keras_checks.parity import (
    BATCH,
    EPOCHS,
    OPTIONS,
    RATE,
    WEIGHTED,
    WEIGHTED_RATE,
    N,
    problem,
    table,
)
from keras_processes import result, start
from oracles.algorithm1 import Ted, kept_by_definition_3
from ted_torch import TED
from torch.nn import functional as F  # noqa: N812
from torch.utils.data import DataLoader, TensorDataset

from ted_core import Importance, Pruner

NAMES = [f"parity.{check.__name__}" for check in parity.CHECKS]
SAME_IDS, SAME_WEIGHTS, TRAINED = NAMES
CLOSE = {"rtol": 2e-4, "atol": 2e-6}


def by_the_core(options=OPTIONS, rate=0.0):
    pruner, weight = Pruner(N, **options), np.float32(1)
    batches, scores = [], []
    while not pruner.finished:
        plan, values = pruner.plan(), table()[pruner.epoch]
        factors = np.full(len(plan), plan.loss_scale, np.float32)
        factors *= 1 if plan.weights is None else plan.weights
        batches.append([])
        for first in range(0, len(plan), BATCH):
            ids, own = (part[first : first + BATCH] for part in (plan.order, factors))
            pruner.observe(ids, values[ids] * weight)
            weight -= np.float32(rate) * (own * values[ids]).mean()
            batches[-1].append(ids.tolist())
        pruner.advance()
        scores.append(pruner.scores.tolist())
    return {"batches": batches, "scores": scores, "weight": float(weight)}


def by_pytorch(options=OPTIONS, rate=0.0):
    ted = TED(torch.arange(N), **options)
    loader = DataLoader(ted.dataset, batch_size=BATCH, sampler=ted.sampler)
    one = torch.ones(1, requires_grad=True)
    optimizer = torch.optim.SGD([one], lr=rate)
    batches, scores = [], []
    for epoch in range(EPOCHS):
        ted.set_epoch(epoch)
        if epoch:
            scores.append(ted.pruner.scores.tolist())
        batches.append([])
        for ids, _ in loader:
            z = one.expand(len(ids), 1) * 1.0
            losses = torch.from_numpy(table()[epoch])[ids] * z[:, 0]
            optimizer.zero_grad()
            ted.loss(losses, mask=z, ids=ids).backward()
            optimizer.step()
            batches[-1].append(ids.tolist())
    ted.finish()
    scores.append(ted.pruner.scores.tolist())
    return {"batches": batches, "scores": scores, "weight": float(one.detach())}


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


@pytest.mark.parametrize("group", ["core", "tensorflow", "jax", "torch"])
@pytest.mark.parametrize("name", [SAME_WEIGHTS])
def test_the_losses_get_the_weights_of_the_core_everywhere(group, name):
    want = by_the_core(WEIGHTED, WEIGHTED_RATE)
    if group == "core":
        found = by_pytorch(WEIGHTED, WEIGHTED_RATE)
    else:
        found = on_keras(group, name)
    assert found["batches"] == want["batches"]
    np.testing.assert_allclose(found["scores"], want["scores"], **CLOSE)
    assert found["weight"] == pytest.approx(want["weight"], rel=1e-5)
    unweighted = by_the_core(
        {**WEIGHTED, "strategy": Importance(correction=0)}, WEIGHTED_RATE
    )
    assert found["batches"][:2] == unweighted["batches"][:2]
    assert found["weight"] != pytest.approx(unweighted["weight"], rel=1e-3)


@pytest.mark.parametrize("group", ["tensorflow", "jax", "torch"])
@pytest.mark.parametrize("name", [TRAINED])
def test_a_network_has_the_values_that_it_has_in_pytorch(group, name):
    found, want = on_keras(group, name), network_by_pytorch()
    assert found["orders"] == want["orders"]
    np.testing.assert_allclose(found["scores"], want["scores"], **CLOSE)
