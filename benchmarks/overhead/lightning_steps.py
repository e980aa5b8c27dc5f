"""Time whole fits of Lightning without TED and with it, by the step.

`python benchmarks/overhead/lightning_steps.py` writes the record, `--table FILE` prints
one.
"""

from __future__ import annotations

import logging
import time
import warnings
from pathlib import Path

import lightning
import torch
from networks import NETWORKS
from step_turns import run
from ted_torch.integrations.lightning import TEDCallback
from torch.nn import functional as F  # noqa: N812
from torch.utils.data import DataLoader, TensorDataset

RECORD = Path(__file__).parent / "records" / "lightning_steps.json"
EPOCHS = 2


class Module(lightning.LightningModule):
    """A network under SGD, with a session or without; it times its own steps.

    Parameters
    ----------
    net : nn.Module
        Trained on from turn to turn.
    ted : TEDCallback or None
        The callback.
    """

    def __init__(self, net, ted):
        super().__init__()
        self.net, self.ted, self.clocks = net, ted, []

    def training_step(self, batch):
        """Return the loss."""
        if self.ted is None:
            x, y = batch
            return F.cross_entropy(self.net(x), y)
        ids, (x, y) = batch
        z = self.net(x)
        losses = F.cross_entropy(z, y, reduction="none")
        return self.ted.loss(losses, mask=z, ids=ids)

    def configure_optimizers(self):
        """Return SGD."""
        return torch.optim.SGD(self.parameters(), lr=0.01, momentum=0.9)

    def on_train_start(self):
        """Start the clocks, when everything is set up."""
        self.clocks.append((time.perf_counter(), time.process_time()))

    def on_train_end(self):
        """Stop the clocks; the closed epochs are in."""
        self.clocks.append((time.perf_counter(), time.process_time()))


def fit(site, net, data, batch):
    """Train two epochs on all data; give the milliseconds of a step by both clocks."""
    options = {"prune_ratio": 0.0, "signal": "mask_gradient"}
    ted = TEDCallback(data, **options) if site == "ted" else None
    plain = DataLoader(data, batch_size=batch, shuffle=True)
    loader = ted.loader(batch_size=batch) if ted else plain
    module = Module(net, ted)
    trainer = lightning.Trainer(
        max_epochs=EPOCHS,
        callbacks=[ted] if ted else [],
        reload_dataloaders_every_n_epochs=int(ted is not None),
        accelerator="cpu",
        devices=1,
        logger=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        enable_checkpointing=False,
    )
    trainer.fit(module, loader)
    first, last = module.clocks
    return [
        1000 * (b - a) / trainer.global_step for a, b in zip(first, last, strict=True)
    ]


def prepare(options):
    """Return what times one site, and what the record tells of it."""
    warnings.simplefilter("ignore")
    logging.getLogger("lightning.pytorch").setLevel(logging.ERROR)
    n = options.steps * options.batch
    data = TensorDataset(torch.randn(n, 3, 32, 32), torch.randint(0, 10, (n,)))
    net = NETWORKS["small"]()

    def timed(site):
        return fit(site, net, data, options.batch)

    return timed, {"network": "small", "epochs": EPOCHS, "image": [3, 32, 32]}


def main():
    run(
        "Lightning step",
        prepare,
        ["plain again", "ted"],
        ["torch", "lightning"],
        RECORD,
    )


if __name__ == "__main__":
    main()
