"""Time a loop over timm's loader without TED and with it, from the second epoch on.

`python benchmarks/overhead/timm_steps.py` writes the record, `--table FILE` prints one.
"""

from __future__ import annotations

import time
import warnings
from pathlib import Path

import numpy as np
import torch
from networks import NETWORKS
from PIL import Image
from step_turns import run
from ted_torch import TED
from ted_torch.integrations.timm import TimmLoader
from timm.data import create_loader
from torch.nn import functional as F  # noqa: N812
from torch.utils.data import Dataset

import ted_core

RECORD = Path(__file__).parent / "records" / "timm_steps.json"
EPOCHS, SHAPE = 3, (3, 32, 32)


class Pictures(Dataset):
    """Random pictures, with a class each, as timm's data sets give them."""

    transform = None  # timm's loader sets it

    def __init__(self, n):
        draws = np.random.default_rng(0).integers(0, 256, (n, *SHAPE[1:], 3), np.uint8)
        self.pictures = [Image.fromarray(pixels) for pixels in draws]

    def __len__(self):
        return len(self.pictures)

    def __getitem__(self, k):
        return self.transform(self.pictures[k]), k % 10


def train(net, loader, ted):
    """Train on all data; give the milliseconds of a step by both clocks."""
    optimizer = torch.optim.SGD(net.parameters(), lr=0.01, momentum=0.9)
    wall = used = steps = 0
    for epoch in range(EPOCHS):
        if epoch == 1:  # a run checks its data in the first
            wall, used = time.perf_counter(), time.process_time()
        if ted:
            ted.set_epoch(epoch)
        for batch in loader:
            ids, (x, y) = batch if ted else (None, batch)
            z = net(x)
            loss = F.cross_entropy(z, y, reduction="none" if ted else "mean")
            if ted:
                loss = ted.loss(loss, ids=ids, logits=z, labels=y)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            steps += epoch > 0
    if ted:
        ted.finish()
    wall, used = time.perf_counter() - wall, time.process_time() - used
    return 1000 * wall / steps, 1000 * used / steps


def prepare(options):
    """Return what times one site, and what the record tells of it."""
    data, net = Pictures(options.steps * options.batch), NETWORKS["small"]()

    def fit(site):
        loader = create_loader(
            data,
            SHAPE,
            options.batch,
            is_training=True,
            num_workers=0,
            device=torch.device("cpu"),
            persistent_workers=False,
        )
        ted = None
        if site == "ted":
            with warnings.catch_warnings():
                # Two epochs save little, and nothing here.
                warnings.simplefilter("ignore", ted_core.TedWarning)
                ted = TED(data, epochs=EPOCHS, prune_ratio=0.0, signal="mask_gradient")
            loader = TimmLoader(ted, loader)
        return train(net, loader, ted)

    return fit, {"network": "small", "epochs": EPOCHS - 1, "image": list(SHAPE)}


def main():
    run("timm step", prepare, ["plain again", "ted"], ["torch", "timm"], RECORD)


if __name__ == "__main__":
    main()
