"""A module, a trainer and a run of Lightning that several tests share."""

from __future__ import annotations

import logging

import lightning
import torch
from lightning.pytorch.callbacks import Checkpoint
from ted_torch.integrations.lightning import TEDCallback
from torch import nn
from torch_runs import CLASSES, FEATURES, cross_entropy, labelled

__all__ = [
    "BATCH",
    "EPOCHS",
    "Classifier",
    "FromOutside",
    "N",
    "fit",
    "make_ted",
    "make_trainer",
]

N, EPOCHS, BATCH = 80, 6, 8

for name in ("lightning.pytorch", "lightning.fabric"):
    logging.getLogger(name).setLevel(logging.ERROR)


class Classifier(lightning.LightningModule):
    """A linear layer under a rate that falls to 0 in the run's last step.

    Parameters
    ----------
    ted : TEDCallback
        The callback.
    **loading : options
        Of the loader.
    """

    def __init__(self, ted, **loading):
        super().__init__()
        torch.manual_seed(0)
        self.net = nn.Linear(FEATURES, CLASSES)
        self.ted, self.loading = ted, {"batch_size": BATCH, **loading}
        self.seen, self.rate = {}, None

    def training_step(self, batch, index):
        """Return the loss of a batch, and note its ids."""
        ids, (x, y) = batch
        self.seen.setdefault(self.trainer.current_epoch, []).append(
            (index, ids.tolist())
        )
        z = self.net(x)
        return self.ted.loss(cross_entropy(z, y), mask=z, ids=ids)

    def train_dataloader(self):
        """Return the session's loader."""
        return self.ted.loader(**self.loading)

    def configure_optimizers(self):
        """Return SGD with momentum under a linear decay by steps."""
        optimizer = torch.optim.SGD(self.parameters(), lr=0.5, momentum=0.9)
        drops = self.loading.get("drop_last", False)
        steps = self.ted.total_steps(self.loading["batch_size"], drop_last=drops)
        self.rate = torch.optim.lr_scheduler.LinearLR(optimizer, 1, 1e-9, steps)
        return [optimizer], [{"scheduler": self.rate, "interval": "step"}]

    def orders(self):
        """Return each epoch's ids in the order of their coming."""
        return {
            epoch: [k for _, ids in batches for k in ids]
            for epoch, batches in self.seen.items()
        }

    def indices(self):
        """Return the numbers of each epoch's batches."""
        return {epoch: [i for i, _ in batches] for epoch, batches in self.seen.items()}


class FromOutside(Classifier):
    """A module whose data comes from elsewhere."""

    train_dataloader = lightning.LightningModule.train_dataloader


def make_ted(data=None, **options):
    """Return a callback on N points."""
    options = {"prune_ratio": 0.6, "signal": "mask_gradient", "seed": 3, **options}
    return TEDCallback(labelled(N) if data is None else data, **options)


def make_trainer(*callbacks, **options):
    """Return a quiet trainer on the CPU."""
    quiet = {
        "logger": False,
        "enable_progress_bar": False,
        "enable_model_summary": False,
        "enable_checkpointing": any(isinstance(c, Checkpoint) for c in callbacks),
    }
    return lightning.Trainer(
        **{
            "max_epochs": EPOCHS,
            "callbacks": list(callbacks),
            "reload_dataloaders_every_n_epochs": 1,
            "accelerator": "cpu",
            "devices": 1,
            **quiet,
            **options,
        }
    )


def fit(*callbacks, ted=None, module=Classifier, ckpt_path=None, **options):
    """Train a run, or the rest of one; return module, callback and trainer."""
    ted = make_ted() if ted is None else ted
    net = module(ted)
    trainer = make_trainer(ted, *callbacks, **options)
    trainer.fit(net, ckpt_path=ckpt_path, weights_only=True)
    return net, ted, trainer
