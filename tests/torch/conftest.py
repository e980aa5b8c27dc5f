from __future__ import annotations

import os

import pytest
import torch
import torchrun
from filelock import FileLock
from torch import nn
from torch.nn import functional as F  # noqa: N812
from torch.utils.data import TensorDataset


@pytest.fixture(scope="session")
def rank_records(tmp_path_factory):
    """Run all that takes several processes, once; give each case's records."""
    folder = tmp_path_factory.getbasetemp()
    if "PYTEST_XDIST_WORKER" in os.environ:
        folder = folder.parent  # pytest's processes share it
    folder /= "ranks"
    with FileLock(f"{folder}.lock"):
        if not folder.exists():
            folder.mkdir()
            torchrun.start("torchrun.py", 3, folder)
    return {
        name: torchrun.read(size, folder / name)
        for name, (_, size) in torchrun.CASES.items()
    }


@pytest.fixture
def data():
    generator = torch.Generator().manual_seed(5)
    x = torch.randn(40, 6, generator=generator)
    return TensorDataset(x, torch.randint(0, 4, (40,), generator=generator))


@pytest.fixture
def train():
    """Give a function that runs steps of an epoch, at most `stop`, and their ids."""

    def steps(ted, net, loader, stop=None):
        optimizer = torch.optim.SGD(net.parameters(), lr=0.5)
        seen = []
        for ids, (x, y) in loader:
            optimizer.zero_grad()
            z = net(x)
            losses = F.cross_entropy(z, y, reduction="none")
            ted.loss(losses, mask=z, ids=ids).backward()
            optimizer.step()
            seen += ids.tolist()
            if stop is not None and len(seen) >= stop:
                break
        return seen

    return steps


@pytest.fixture
def make_net():
    def make():
        torch.manual_seed(1)
        return nn.Linear(6, 4)

    return make
