from __future__ import annotations

import copy

import pytest
import torch
from ted_torch import TED
from torch import nn
from torch.nn import functional as F  # noqa: N812
from torch.utils.data import DataLoader, TensorDataset


@pytest.fixture(autouse=True)
def fresh_compiler():
    torch.compiler.reset()
    yield
    torch.compiler.reset()


def run(wrap_model=lambda model: model, wrap_step=lambda step: step):
    torch.manual_seed(0)
    data = TensorDataset(torch.randn(32, 5), torch.arange(32) % 3)
    net = wrap_model(nn.Sequential(nn.Linear(5, 7), nn.ReLU(), nn.Linear(7, 3)))
    # Whole batches only: the shapes are one, and the keep ratio is what changes.
    ted = TED(data, epochs=5, prune_ratio=0.5, multiple_of=8)
    loader = DataLoader(ted.dataset, batch_size=8, sampler=ted.sampler)

    def step(ids, x, y):
        z = net(x)
        losses = F.cross_entropy(z, y, reduction="none")
        return ted.loss(losses, mask=z, ids=ids)

    step = wrap_step(step)
    totals = []
    for epoch in range(3):
        ted.set_epoch(epoch)
        for ids, (x, y) in loader:
            total = step(ids, x, y)
            total.backward()
            totals.append(total.item())
    assert ted.pruner.plan().loss_scale > 1
    return totals, copy.deepcopy(ted.state_dict())


def assert_alike(ours, theirs):
    torch.testing.assert_close(torch.tensor(ours[0]), torch.tensor(theirs[0]))
    assert ours[1].keys() == theirs[1].keys()
    for name, value in ours[1].items():
        torch.testing.assert_close(value, theirs[1][name], equal_nan=True) if (
            isinstance(value, torch.Tensor)
        ) else None


def compiled(function):
    return torch.compile(function, fullgraph=True, backend="aot_eager", dynamic=False)


def test_a_compiled_model_gives_the_same_scores():
    assert_alike(run(wrap_model=compiled), run())


def test_a_compiled_step_is_one_graph_that_serves_every_keep_ratio():
    with torch._dynamo.config.patch(error_on_recompile=True):
        ours = run(wrap_step=compiled)
    assert_alike(ours, run())
