"""A comparison of sessions in a loop of PyTorch."""

from __future__ import annotations

import torch
from ted_torch import TED
from torch import nn
from torch.nn.functional import cross_entropy
from torch.utils.data import DataLoader, TensorDataset

import ted_core

X = torch.randn(60, 5, generator=torch.Generator().manual_seed(0))
DATA = TensorDataset(X, (X[:, 0] > 0).long() + (X[:, 1] > 0).long())


def train(*, seed, lr, epochs, **options):
    torch.manual_seed(seed)
    net = nn.Linear(5, 3)
    optimizer = torch.optim.SGD(net.parameters(), lr=lr)
    ted = TED(DATA, epochs=epochs, seed=seed, **options)
    loader = DataLoader(ted.dataset, batch_size=10, sampler=ted.sampler)
    for epoch in range(epochs):
        ted.set_epoch(epoch)
        for ids, (x, y) in loader:
            logits = net(x)
            losses = cross_entropy(logits, y, reduction="none")
            optimizer.zero_grad()
            ted.loss(losses, ids=ids, logits=logits, labels=y).backward()
            optimizer.step()
    ted.finish()
    return (net(X).argmax(dim=1) == DATA.tensors[1]).float().mean(), ted


def test_the_loop_of_the_first_page_is_compared(tmp_path):
    result = ted_core.compare(
        train,
        epochs=8,
        methods=["ted", "ted_loss", "soft_margin"],
        seeds=3,
        rates=[0.1, 1.0],
        sweep_seeds=1,
        record=tmp_path / "record.json",
        progress=False,
    )
    assert len(result.rows) == 12
    for row in result.rows:
        assert row.rate in {0.1, 1.0}
        assert all(0 <= metric <= 1 for metric in row.metrics)
        assert abs(row.samples - row.budget * 8 * 60) <= 30
    assert result.n == 60
