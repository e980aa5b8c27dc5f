"""Time whole fits of fastai without TED and with it, by the step.

`python benchmarks/overhead/fastai_steps.py` writes the record, `--table FILE` prints
one.
"""

from __future__ import annotations

import time
import warnings
from functools import partial
from pathlib import Path

import torch
from fastai.callback.core import Callback
from fastai.data.core import DataLoaders
from fastai.learner import Learner
from fastai.losses import CrossEntropyLossFlat
from fastai.optimizer import OptimWrapper
from networks import NETWORKS
from step_turns import run
from ted_torch.integrations.fastai import TEDCallback
from torch.utils.data import TensorDataset

RECORD = Path(__file__).parent / "records" / "fastai_steps.json"
EPOCHS = 2
SGD = partial(OptimWrapper, opt=partial(torch.optim.SGD, momentum=0.9))


class Clock(Callback):
    """Note both clocks when everything is set up, and when the last epoch is closed."""

    order = 100

    def before_epoch(self):
        """Start the clocks."""
        if self.epoch == 0:
            self.times = [(time.perf_counter(), time.process_time())]

    def after_fit(self):
        """Stop the clocks."""
        self.times.append((time.perf_counter(), time.process_time()))


def prepare(options):
    """Return what times one site, and what the record tells of it."""
    warnings.simplefilter("ignore")
    n = options.steps * options.batch
    data = TensorDataset(torch.randn(n, 3, 32, 32), torch.randint(0, 10, (n,)))
    held_out = TensorDataset(*data[:1])
    net = NETWORKS["small"]()

    def fit(site):
        clock = Clock()
        ted = [TEDCallback(prune_ratio=0.0, signal="mask_gradient")]
        dls = DataLoaders.from_dsets(
            data, held_out, bs=options.batch, device="cpu", num_workers=0
        )
        learn = Learner(
            dls,
            net,
            loss_func=CrossEntropyLossFlat(),
            opt_func=SGD,
            cbs=[clock, *ted] if site == "ted" else [clock],
        )
        with learn.no_bar(), learn.no_logging():
            learn.fit(EPOCHS, 0.01)
        first, last = clock.times
        steps = EPOCHS * options.steps
        return [1000 * (b - a) / steps for a, b in zip(first, last, strict=True)]

    return fit, {"network": "small", "epochs": EPOCHS, "image": [3, 32, 32]}


def main():
    run("fastai step", prepare, ["plain again", "ted"], ["torch", "fastai"], RECORD)


if __name__ == "__main__":
    main()
