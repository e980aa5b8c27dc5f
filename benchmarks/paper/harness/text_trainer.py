"""Sentences through Hugging Face's ``Trainer``, in place of the plain loop.

The task, its optimiser and its evaluation are the same; the Trainer makes the batches,
runs the epochs and sets the learning rate, TED comes in as ``TEDTrainer``. A run is one
piece: it is not stopped between its epochs.
"""

from __future__ import annotations

from tempfile import TemporaryDirectory

import torch
from harness import training as plain
from harness.sources import Plain
from ted_torch.integrations.transformers import TEDTrainer
from torch.nn.utils.rnn import pad_sequence
from torch.utils.data import Dataset
from transformers import PrinterCallback, Trainer, TrainerCallback, TrainingArguments

__all__ = ["PACKAGES", "Training"]

PACKAGES = ("accelerate",)
SETTINGS = (
    "loop",
    "model",
    "trained_layers",
    "epochs",
    "batch",
    "optimizer",
    "rate",
    "weight_decay",
    "schedule",
    "precision",
    "probe_every",
)
"""What a configuration may say of the training; the Trainer groups no batches by
length where TED chooses their samples."""
ALLOWED = {
    "kind": ("sentences",),
    "schedule": ("linear", "cosine"),
    "source": ("Plain", "TedSource"),
    "site": ("logits", "feature"),
}


class Training(plain.Training):
    """A task in the Trainer's hands; `train_epoch` trains all of its epochs.

    Parameters
    ----------
    source : Plain or TedSource
        Who chooses; once trained its session is that of the ``TEDTrainer``.
    task : Task
        Of ``harness.text_sentences``.
    training : dict
        The configuration's table of that name.
    device : str
        Where.
    """

    def __init__(self, source, task, training, *, device):
        check(source, task, training)
        super().__init__(source, task, training, device=device)
        self._samples = self._total = 0

    def train_epoch(self):
        """Train all epochs; probes are not in their seconds."""
        with TemporaryDirectory() as folder:
            trainer = self._trainer(folder)
            trainer.remove_callback(PrinterCallback)
            trainer.train()
        self.steps = trainer.state.global_step

    def _trainer(self, folder):
        """Return the Trainer, as a user would make it."""
        setup, source = self._setup, self.source
        arguments = {
            "output_dir": folder,
            "num_train_epochs": source.epochs,
            "per_device_train_batch_size": setup["batch"],
            "lr_scheduler_type": setup["schedule"],
            "max_grad_norm": 0.0,  # nothing is clipped
            "bf16": setup.get("precision") == "bf16",
            "seed": self.task.seed,
            "use_cpu": self._device.type == "cpu",
            "dataloader_pin_memory": False,
            "save_strategy": "no",
            "logging_strategy": "no",
            "report_to": "none",
            "disable_tqdm": True,
        }
        given = {
            "model": self.task.network,
            "train_dataset": Items(self.task, source.n),
            "data_collator": collate,
            "optimizers": (self._optimizer, None),
            "callbacks": [Epochs(self)],
            "training": self,
        }
        if isinstance(source, Plain):
            arguments["max_steps"] = source.total_steps
            return PlainRun(args=TrainingArguments(**arguments), **given)
        # Counts as the plain loop has them, not rounded up to whole batches.
        ted = {"multiple_of": 1} | source.options
        trainer = TedRun(args=TrainingArguments(**arguments), ted=ted, **given)
        source.ted = trainer.ted
        return trainer

    def begin_epoch(self):
        self._open()
        self._samples, self._total = 0, torch.zeros((), device=self._device)

    def add(self, samples, total):
        """Count the samples of a step, and the sum of their losses."""
        self._samples += samples
        self._total += total

    def end_epoch(self):
        self._close(self._samples, self._total)


class PlainRun(Trainer):
    """The Trainer itself, watched."""

    def __init__(self, *args, training, **kwargs):
        super().__init__(*args, **kwargs)
        self._training = training

    def compute_loss(self, model, inputs, *args, **kwargs):
        loss = super().compute_loss(model, inputs, *args, **kwargs)
        samples = len(inputs["labels"])
        self._training.add(samples, samples * loss.detach())
        return loss


class TedRun(TEDTrainer):
    """The Trainer with TED, watched, whose mask may stand at the feature."""

    def __init__(self, *args, training, **kwargs):
        super().__init__(*args, **kwargs)
        self._training = training

    def sample_losses(self, outputs, labels, hidden):
        given = super().sample_losses(outputs, labels, hidden)
        losses, training = given["losses"].detach(), self._training
        training.add(len(losses), losses.sum())
        if training.source.spec.get("site") == "feature":
            given["mask"] = training.task.feature
        return given


class Epochs(TrainerCallback):
    """Tell the training where epochs begin and end."""

    def __init__(self, training):
        self._training = training

    def on_epoch_begin(self, *_, **__):
        self._training.begin_epoch()

    def on_epoch_end(self, *_, **__):
        self._training.end_epoch()


class Items(Dataset):
    """The training samples: tokens, or what lower layers gave, with their labels."""

    def __init__(self, task, n):
        self._task, self._n = task, n

    def __len__(self):
        return self._n

    def __getitem__(self, k):
        return self._task.item(k)


def collate(items):
    """Return a batch, padded with zeros, and which of it is no padding."""
    batch = {"labels": torch.stack([item["labels"] for item in items])}
    for name in items[0].keys() - batch.keys():
        rows = [item[name] for item in items]
        batch[name] = pad_sequence(rows, batch_first=True)
        ones = [torch.ones(len(row), dtype=torch.int64) for row in rows]
        batch["attention_mask"] = pad_sequence(ones, batch_first=True)
    return batch


def check(source, task, training):
    """Refuse what the Trainer does not do as the plain loop does it."""
    spec = getattr(source, "spec", {})
    found = {
        "kind": type(task).__module__.removeprefix("harness.text_"),
        "schedule": training["schedule"],
        "source": type(source).__name__,
        "site": spec.get("site", "logits"),
    }
    for name, allowed in ALLOWED.items():
        if found[name] not in allowed:
            refuse(name, f"be among {', '.join(allowed)}", found[name])
    for name in [name for name in training if name not in SETTINGS]:
        refuse(name, "be left out", training[name])
    for name in [name for name in ("signed", "normalize") if spec.get(name)]:
        refuse(name, "be left out", spec[name])
    if source.total_steps is None:
        strategy = source.options["strategy"]
        refuse("strategy", "know its steps ahead, for the schedule to end", strategy)


def refuse(name, rule, value):
    message = f"`{name}` must {rule} where the loop is the Trainer's, got {value!r}"
    raise ValueError(message)
