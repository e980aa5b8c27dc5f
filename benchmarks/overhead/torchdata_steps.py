"""Time a loop over torchdata's loader without TED and with it, by the step.

`python benchmarks/overhead/torchdata_steps.py` writes the record, `--table FILE` prints
one.
"""

from __future__ import annotations

import time
import warnings
from pathlib import Path

import torch
from networks import NETWORKS
from step_turns import run
from ted_torch import TED
from ted_torch.integrations.torchdata import stateful_loader
from torch.nn import functional as F  # noqa: N812
from torch.utils.data import DataLoader, TensorDataset
from torchdata.stateful_dataloader import StatefulDataLoader

import ted_core

RECORD = Path(__file__).parent / "records" / "torchdata_steps.json"
SITES = ["plain again", "ted", "DataLoader"]
EPOCHS = 2


def train(net, loader, ted):
    """Train two epochs on all data; give the steps taken."""
    optimizer = torch.optim.SGD(net.parameters(), lr=0.01, momentum=0.9)
    steps = 0
    for epoch in range(EPOCHS):
        if ted:
            ted.set_epoch(epoch)
        for batch in loader:
            ids, (x, y) = batch if ted else (None, batch)
            z = net(x)
            loss = F.cross_entropy(z, y, reduction="none" if ted else "mean")
            if ted:
                loss = ted.loss(loss, mask=z, ids=ids)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            steps += 1
    if ted:
        ted.finish()
    return steps


def prepare(options):
    """Return what times one site, and what the record tells of it."""
    n, size = options.steps * options.batch, options.batch
    data = TensorDataset(torch.randn(n, 3, 32, 32), torch.randint(0, 10, (n,)))
    net = NETWORKS["small"]()

    def fit(site):
        ted = None
        if site == "ted":
            with warnings.catch_warnings():
                # Two epochs save little, and nothing here.
                warnings.simplefilter("ignore", ted_core.TedWarning)
                ted = TED(data, epochs=EPOCHS, prune_ratio=0.0, signal="mask_gradient")
            loader = stateful_loader(ted, batch_size=size)
        else:
            host = DataLoader if site == "DataLoader" else StatefulDataLoader
            loader = host(data, batch_size=size, shuffle=True)
        wall, used = time.perf_counter(), time.process_time()
        steps = train(net, loader, ted)
        wall, used = time.perf_counter() - wall, time.process_time() - used
        return 1000 * wall / steps, 1000 * used / steps

    return fit, {"network": "small", "epochs": EPOCHS, "image": [3, 32, 32]}


def main():
    run("torchdata step", prepare, SITES, ["torch", "torchdata"], RECORD)


if __name__ == "__main__":
    main()
