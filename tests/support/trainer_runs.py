"""Tiny models and data for runs of Hugging Face's trainer."""

from __future__ import annotations

import warnings

import torch
from ted_torch.integrations.transformers import TEDTrainer
from torch.utils.data import Dataset
from transformers import (
    BertConfig,
    BertForSequenceClassification,
    LlamaConfig,
    LlamaForCausalLM,
    TrainingArguments,
)

from ted_core import TedWarning, TopScore

WORDS, N, EPOCHS = 13, 37, 5
PAPER = {"prune_ratio": 0.6, "signal": "mask_gradient", "strategy": TopScore()}
QUIET = {
    "learning_rate": 0.01,
    "report_to": "none",
    "save_strategy": "no",
    "logging_strategy": "no",
    "disable_tqdm": True,
    "use_cpu": True,
    "dataloader_pin_memory": False,
}
"""Arguments of a trainer that trains, and does nothing else."""
SMALL = {
    "vocab_size": WORDS,
    "hidden_size": 8,
    "intermediate_size": 16,
    "num_hidden_layers": 1,
    "num_attention_heads": 2,
}


OWN = ("data_collator", "eval_dataset", "callbacks", "compute_loss_func")
OWN += ("compute_metrics", "processing_class")
NO_DROPOUT = {"hidden_dropout_prob": 0.0, "attention_probs_dropout_prob": 0.0}


class Rows(Dataset):
    """Sentences with a label each; the last column is no input of a model."""

    def __init__(self, n=N, classes=3, length=6):
        draw = torch.Generator().manual_seed(3)
        self.words = torch.randint(1, WORDS, (n, length), generator=draw)
        self.labels = self.words[:, 0] % classes

    def __len__(self):
        return len(self.words)

    def __getitem__(self, k):
        return {"input_ids": self.words[k], "labels": self.labels[k], "row": k}


class Texts(Rows):
    """Sentences of many lengths; what is beyond is ignored."""

    def __getitem__(self, k):
        words = self.words[k]
        mask = (torch.arange(len(words)) < 2 + k % (len(words) - 1)).long()
        labels = torch.where(mask == 1, words, -100)
        return {"input_ids": words, "attention_mask": mask, "labels": labels}


class Ragged(Rows):
    """Sentences as long as they are, for a collator to pad."""

    def __init__(self, n=N):
        super().__init__(n, length=8)
        self.lengths = [2 + k * 5 % 7 for k in range(n)]

    def __getitem__(self, k):
        words = self.words[k, : self.lengths[k]]
        return {"input_ids": words, "labels": self.labels[k]}


def padded(rows):
    """Collate ragged sentences, padded to the longest of them."""
    words = [row["input_ids"] for row in rows]
    labels = torch.stack([row["labels"] for row in rows])
    columns = torch.nn.utils.rnn.pad_sequence(words, batch_first=True)
    mask = (columns > 0).long()
    return {"input_ids": columns, "attention_mask": mask, "labels": labels}


class Seen(TEDTrainer):
    """Note the ids of each batch, by epoch."""

    def __init__(self, *args, **kwargs):
        super().__init__(*args, **kwargs)
        self.seen = {}

    def compute_loss(self, model, inputs, *args, **kwargs):
        if model.training:
            ids = inputs["ted_ids"].tolist()
            self.seen.setdefault(self.ted.epoch, []).append(ids)
        return super().compute_loss(model, inputs, *args, **kwargs)


def classifier(**options):
    torch.manual_seed(1)
    settings = {"num_labels": 3, "max_position_embeddings": 8}
    return BertForSequenceClassification(BertConfig(**SMALL, **settings | options))


def frozen_classifier(**options):
    return classifier(**NO_DROPOUT, **options)


def language(**options):
    torch.manual_seed(1)
    return LlamaForCausalLM(LlamaConfig(**SMALL, pad_token_id=0, **options))


def arguments(folder, **options):
    settings = {"num_train_epochs": EPOCHS, "per_device_train_batch_size": 4, **QUIET}
    return TrainingArguments(output_dir=str(folder), **(settings | options))


def flat(batches):
    """Give the ids of an epoch's batches in one list."""
    return [sample for batch in batches for sample in batch]


def trainer(folder, model=None, data=None, *, ted=None, kind=Seen, **options):
    """Make a trainer; options of the trainer itself are among the arguments."""
    own = {name: options.pop(name) for name in OWN if name in options}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", TedWarning)
        return kind(
            model=classifier() if model is None else model,
            args=arguments(folder, **options),
            train_dataset=Rows() if data is None else data,
            ted=PAPER if ted is None else ted,
            **own,
        )
