"""The runs in loops of others whose saved states are fixtures."""

from __future__ import annotations

import shutil
import warnings
from pathlib import Path

import lightning
import torch
import trainer_runs
from accelerate import Accelerator
from lightning.pytorch.callbacks import Callback
from lightning_runs import make_trainer
from saved_runs import EPOCHS, FOLDER, N, Record, values
from ted_torch.integrations.accelerate import AcceleratedTED
from ted_torch.integrations.lightning import TEDCallback
from ted_torch.integrations.transformers import TEDTrainer
from torch import nn
from torch.utils.data import DataLoader, Dataset
from transformers import TrainerCallback

from ted_core import TedWarning

__all__ = ["HOSTS_BY_NAME", "host_of"]

BATCH = 4


def reached(kind, pruner, step):
    """Whether a run stands where its state is kept, after a step of its epoch."""
    last = step == pruner.plan().steps(BATCH)
    return pruner.epoch == kind.epoch and (step == kind.seen or last)


def worth(pruner, ids):
    """Give a batch's losses: the samples' values."""
    return torch.from_numpy(values(ids.cpu().numpy(), pruner.epoch))


class Numbers(Dataset):
    """Numbers whose labels are their ids."""

    def __len__(self):
        return N

    def __getitem__(self, k):
        return {"x": torch.zeros(1), "labels": k}


class Line(nn.Module):
    """A model for numbers."""

    def __init__(self):
        super().__init__()
        self.line = nn.Linear(1, 1)

    def forward(self, x, labels=None):
        del labels
        return {"logits": self.line(x)}


class Fed(TEDTrainer):
    """A trainer whose losses are the samples' values."""

    record = None

    def sample_losses(self, outputs, labels, hidden):
        del hidden
        self.record = self.record or Record()
        self.record.see(self.ted.pruner)
        losses = worth(self.ted.pruner, labels["labels"])
        return {"losses": losses + 0 * outputs["logits"].sum(1)}


class SaveAndStop(TrainerCallback):
    """Have a trainer save where its state is kept, and stop there."""

    def __init__(self, kind):
        self.kind, self.trainer, self.step = kind, None, 0

    def on_epoch_begin(self, *_, **__):
        self.step = 0

    def on_step_end(self, _args, _state, control, **_):
        self.step += 1
        if reached(self.kind, self.trainer.ted.pruner, self.step):
            control.should_save = control.should_training_stop = True


class OfTrainer:
    """Hugging Face's trainer: the file beside its own in a checkpoint."""

    suffix = "pt"

    @staticmethod
    def begin(kind, folder, *callbacks):
        return trainer_runs.trainer(
            folder,
            Line(),
            Numbers(),
            ted=kind.options,
            kind=Fed,
            num_train_epochs=EPOCHS,
            callbacks=list(callbacks),
        )

    def stop(self, kind, folder):
        """Train until the state is kept; give the checkpoint's folder."""
        saving = SaveAndStop(kind)
        saving.trainer = trainer = self.begin(kind, folder, saving)
        with warnings.catch_warnings():
            # It stops on purpose.
            warnings.simplefilter("ignore", TedWarning)
            trainer.train()
        return next(Path(folder).glob("checkpoint-*"))

    def write(self, kind, folder, path):
        shutil.copy(self.stop(kind, folder) / "ted.pt", path)

    def run(self, kind, folder, path=None):
        """Train to the end; the rest of a checkpoint is made anew, the model too."""
        checkpoint = None
        if path is not None:
            checkpoint = self.stop(kind, folder)
            shutil.copy(path, checkpoint / "ted.pt")
        trainer = self.begin(kind, folder)
        trainer.train(resume_from_checkpoint=checkpoint and str(checkpoint))
        return trainer.record.facts(trainer.ted.pruner)


class Module(lightning.LightningModule):
    """A module whose losses are the samples' values."""

    def __init__(self, ted):
        super().__init__()
        self.ted, self.record = ted, Record()
        self.weight = nn.Parameter(torch.zeros(1))

    def training_step(self, ids_and_items, index):
        del index
        ids, _ = ids_and_items
        self.record.see(self.ted.pruner)
        losses = worth(self.ted.pruner, ids) + 0 * self.weight
        return self.ted.loss(losses, ids=ids)

    def train_dataloader(self):
        return self.ted.loader(batch_size=BATCH)

    def configure_optimizers(self):
        return torch.optim.SGD(self.parameters(), lr=0.1)


class SaveHere(Callback):
    """Save a checkpoint where the state is kept."""

    def __init__(self, kind, ted, path):
        self.kind, self.ted, self.path = kind, ted, path

    def on_train_batch_end(self, trainer, _module, _outputs, _batch, index):
        here = index + 1 == self.kind.seen
        if here and self.ted.pruner.epoch == self.kind.epoch:
            trainer.save_checkpoint(self.path)

    def on_train_epoch_end(self, trainer, _module):
        # The session has opened the next epoch.
        if not self.kind.seen and self.ted.pruner.epoch == self.kind.epoch:
            trainer.save_checkpoint(self.path)


class OfLightning:
    """Lightning's trainer: its checkpoint."""

    suffix = "ckpt"

    def write(self, kind, folder, path, **options):
        del folder
        ted = TEDCallback(range(N), **kind.options)
        saving = SaveHere(kind, ted, path)
        make_trainer(ted, saving, max_epochs=EPOCHS, **options).fit(Module(ted))

    def run(self, kind, folder, path=None, **options):
        del folder
        ted = TEDCallback(range(N), **kind.options)
        module = Module(ted)
        trainer = make_trainer(ted, max_epochs=EPOCHS, **options)
        trainer.fit(module, ckpt_path=path and str(path), weights_only=True)
        return module.record.facts(ted.pruner)


class OfAccelerate:
    """Accelerate: the file of what was registered for checkpoints."""

    suffix = "pkl"

    @staticmethod
    def begin(kind):
        accelerator = Accelerator(cpu=True)
        ted = AcceleratedTED(
            accelerator, range(N), epochs=EPOCHS, batch_size=BATCH, **kind.options
        )
        loader = DataLoader(ted.dataset, BATCH, sampler=ted.sampler)
        accelerator.register_for_checkpointing(ted)
        return accelerator, ted, accelerator.prepare(loader), Record()

    @staticmethod
    def train(ted, loader, record, stop=None):
        for epoch in range(ted.epoch, EPOCHS):
            ted.set_epoch(epoch)
            if stop == (epoch, 0):
                return
            for step, (ids, _) in enumerate(loader, 1):
                record.see(ted.pruner)
                losses = worth(ted.pruner, ids).requires_grad_()
                ted.loss(losses, ids=ids).backward()
                if stop == (epoch, step):
                    return
        ted.finish()

    def write(self, kind, folder, path):
        accelerator, *run = self.begin(kind)
        self.train(*run, stop=(kind.epoch, kind.seen))
        accelerator.save_state(str(folder))
        if accelerator.is_main_process:
            shutil.copy(Path(folder) / "custom_checkpoint_0.pkl", path)

    def run(self, kind, folder, path=None):
        del folder
        _, ted, loader, record = self.begin(kind)
        if path is not None:
            ted.load_state_dict(torch.load(path, weights_only=True))
        self.train(ted, loader, record)
        return record.facts(ted.pruner)


HOSTS_BY_NAME = {
    "trainer": OfTrainer(),
    "lightning": OfLightning(),
    "accelerate": OfAccelerate(),
}


def host_of(name, group="hosts"):
    """Give the host of a kind, and the file of its state."""
    host = HOSTS_BY_NAME[name.partition("_")[0]]
    return host, FOLDER / group / f"{name}.{host.suffix}"
