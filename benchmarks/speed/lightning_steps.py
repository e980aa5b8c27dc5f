"""Time whole fits of Lightning without TED and with it, by the step.

`python benchmarks/speed/lightning_steps.py` writes the record, `--table FILE` prints
one.
"""

from __future__ import annotations

import argparse
import json
import logging
import os
import platform
import time
import warnings
from pathlib import Path

import lightning
import numpy as np
import torch
from networks import NETWORKS
from step_summary import processor, summarise
from ted_torch.integrations.lightning import TEDCallback
from torch.nn import functional as F  # noqa: N812
from torch.utils.data import DataLoader, TensorDataset

import ted_core

RECORD = Path(__file__).parent / "records" / "lightning_steps.json"
SITES = ["plain", "plain again", "ted"]
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


def measure(options):
    """Let every round take each site once, in any order."""
    torch.manual_seed(0)
    n = options.steps * options.batch
    data = TensorDataset(torch.randn(n, 3, 32, 32), torch.randint(0, 10, (n,)))
    net, draw = NETWORKS["small"](), np.random.default_rng(0)
    times = {site: {"wall": [], "cpu": []} for site in SITES}
    for number in range(1 + options.rounds):
        for place in draw.permutation(len(SITES)):
            wall, cpu = fit(SITES[place], net, data, options.batch)
            if number:
                times[SITES[place]]["wall"].append(wall)
                times[SITES[place]]["cpu"].append(cpu)
    return times


def line(record):
    """Give the sentence of the page: processor time, paired by round.

    Parameters
    ----------
    record : dict
        What this script wrote.

    Returns
    -------
    str
        Markdown.
    """
    sites = {row["site"]: row["cpu"] for row in record["sites"]}

    def change(site):
        ratio, low, high = (100 * (v - 1) for v in sites[site]["ratio, 95 % interval"])
        return f"{ratio:+.1f} % [{low:+.1f}, {high:+.1f}]"

    rounds, base = record["config"]["rounds"], sites["plain"]["median ms"]
    return (
        f"With TED a step costs {change('ted')} of {base:.1f} ms; the same fit again "
        f"without it {change('plain again')} (medians of {rounds} rounds with their "
        "95 % intervals)."
    )


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=24)
    parser.add_argument("--steps", type=int, default=10, help="steps of an epoch")
    parser.add_argument("--batch", type=int, default=128)
    parser.add_argument("--out", type=Path, default=RECORD)
    parser.add_argument("--table", type=Path, help="print this record and measure none")
    options = parser.parse_args()
    if options.table:
        print(line(json.loads(options.table.read_text(encoding="utf-8"))))
        return
    torch.set_num_threads(1)
    warnings.simplefilter("ignore")
    logging.getLogger("lightning.pytorch").setLevel(logging.ERROR)
    begun = os.getloadavg()[0]
    times = measure(options)
    fields = ["rounds", "steps", "batch"]
    record = {
        "name": "Lightning step",
        "config": {field: getattr(options, field) for field in fields}
        | {"network": "small", "epochs": EPOCHS, "image": [3, 32, 32]},
        "versions": {
            "ted-core": ted_core.__version__,
            "python": platform.python_version(),
            "numpy": np.__version__,
            "torch": torch.__version__,
            "lightning": lightning.__version__,
        },
        "machine": processor() | {"threads": torch.get_num_threads()},
        # Above 1 others shared the machine: then the processor's time counts.
        "load average, before and after": [
            round(begun, 2),
            round(os.getloadavg()[0], 2),
        ],
        "sites": summarise(times),
    }
    options.out.write_text(json.dumps(record, indent=1) + "\n", encoding="utf-8")
    print(line(record))


if __name__ == "__main__":
    main()
