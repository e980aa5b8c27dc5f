"""Sentences, or pairs of them, to be classified or rated by a BERT encoder."""

from __future__ import annotations

import copy
from dataclasses import dataclass

import numpy as np
import torch
from harness.text_data import Ragged, batches, read_rows
from harness.text_metrics import METRICS
from harness.text_models import (
    keep_upper,
    last_linear,
    load_model,
    load_tokenizer,
    new_head,
    trained,
)
from torch import nn
from torch.nn import functional as F  # noqa: N812 - PyTorch's own habit

__all__ = ["PACKAGES", "Task", "labels", "load"]

PACKAGES = ("transformers",)
TEST_BATCH = 128


@dataclass(frozen=True)
class Sentences:
    """A task of GLUE: tokens, or what lower layers gave for them, and labels."""

    model: nn.Module
    train: Ragged
    test: Ragged
    y_train: np.ndarray
    y_test: np.ndarray
    metric: str
    regression: bool
    cut: bool


def load(config, arguments):
    """Return a task's sentences, tokenised, and the model as it was published.

    ``DATA/glue/NAME/train.jsonl`` and ``dev.jsonl``: objects with ``text``, for pairs
    ``text2``, and an integer ``label`` or a float ``score``.
    """
    data, training = config["data"], config["training"]
    folder = arguments.data_dir, "glue", data["set"]
    train = read_rows(*folder, "train", samples=data.get("samples"))
    test = read_rows(*folder, "dev")
    key = "score" if "score" in train[0] else "label"
    y_train, y_test = (np.array([row[key] for row in rows]) for rows in (train, test))
    source = training["model"], arguments.model
    tokenizer = load_tokenizer(*source)
    parts = [encode(tokenizer, rows, data["length"]) for rows in (train, test)]
    regression = key == "score"
    classes = 1 if regression else 1 + int(max(y_train.max(), y_test.max()))
    model = load_model(*source, labels=classes)
    upper = training.get("trained_layers")
    if upper:
        half = training.get("precision") == "bf16"
        with torch.autocast("cpu", torch.bfloat16, enabled=half):
            parts = keep_upper(model, upper, parts, lambda tokens: given(model, tokens))
    place = [part.to(arguments.device) for part in parts]
    metric = config["metric"]
    return Sentences(model, *place, y_train, y_test, metric, regression, bool(upper))


def encode(tokenizer, rows, length):
    """Return tokens and their types, shapes (T, 2), cut to `length`."""
    pairs = [row["text2"] for row in rows] if "text2" in rows[0] else None
    options = {"truncation": True, "max_length": length}
    options |= {"return_token_type_ids": True}
    found = tokenizer([row["text"] for row in rows], pairs, **options)
    both = zip(found["input_ids"], found["token_type_ids"], strict=True)
    return Ragged([torch.tensor(columns).T for columns in both])


def given(model, tokens, enter=None):
    """Return the model's arguments for tokens and types, (B, T, 2).

    They go in as word embeddings, before position and layer norm: the site ``input``.
    """
    words = model.get_input_embeddings()(tokens[..., 0])
    out = {"inputs_embeds": words if enter is None else enter(words)}
    if has_types(model):
        out["token_type_ids"] = tokens[..., 1]
    return out


def has_types(model):
    return getattr(model.config, "type_vocab_size", 1) > 1


def labels(data):
    return data.y_train


class Task:
    """An encoder and its head in training; see ``harness.tasks``.

    Parameters
    ----------
    data : Sentences
        What to train on, and the model to start from.
    training : dict
        The configuration's table of that name.
    seed, device : int, str
        Seed of the head and of dropout, and where.
    """

    def __init__(self, data, training, *, seed, device):
        self._data, self._setup, self.seed = data, training, seed
        self._device = torch.device(device)
        self.network = copy.deepcopy(data.model).to(device)
        head = last_linear(self.network)
        new_head(head, seed)
        head.register_forward_pre_hook(self._keep)
        self.feature = None
        self._half = training.get("precision") == "bf16"
        kind = torch.float32 if data.regression else torch.int64
        self._y, self._y_test = (
            torch.as_tensor(y, dtype=kind, device=device)
            for y in (data.y_train, data.y_test)
        )
        self.classes = None if data.regression else data.y_train

    def _keep(self, _layer, inputs):
        self.feature = inputs[0]

    def item(self, k):
        """Return a training sample as the model's arguments, without padding."""
        x, y = self._data.train[k], self._y[k]
        if self._data.cut:
            return {"inputs_embeds": x, "labels": y}
        types = {"token_type_ids": x[:, 1]} if has_types(self.network) else {}
        return {"input_ids": x[:, 0], "labels": y} | types

    def parameters(self):
        return list(trained(self.network).values())

    def begin(self, epoch):
        self.network.train()
        torch.manual_seed(self.seed * 1000 + epoch)  # dropout's generator

    def batches(self, order, epoch):
        own = {"seed": self.seed, "epoch": epoch}
        return batches(order, self._data.train.lengths, self._setup, **own)

    def losses(self, ids, source):
        logits = self._forward(self._data.train, ids, lambda x: source.enter(x, ids))
        y = self._y[ids]
        outputs = {"logits": logits, "labels": y, "feature": self.feature}
        return self._loss(logits, y), outputs

    def _forward(self, part, ids, enter=None):
        x, valid = part.padded(ids)
        with torch.autocast(self._device.type, torch.bfloat16, enabled=self._half):
            if self._data.cut:
                x = {"inputs_embeds": x}
            else:
                x = given(self.network, x, enter)
            logits = self.network(**x, attention_mask=valid.long()).logits
        return logits.float()

    def _loss(self, logits, y):
        if self._data.regression:
            return F.mse_loss(logits[:, 0], y, reduction="none")
        return F.cross_entropy(logits, y, reduction="none")

    @torch.no_grad()
    def _predict(self, part, ids):
        self.network.eval()
        return torch.cat([self._forward(part, some) for some in ids.split(TEST_BATCH)])

    def mean_loss(self, ids):
        logits = self._predict(self._data.train, ids)
        return float(self._loss(logits, self._y[ids]).mean())

    def result(self):
        """Return the metric and the loss on the task's dev part."""
        test = self._data.test
        order = test.lengths.argsort()
        logits, y = self._predict(test, order), self._y_test[order]
        best = logits[:, 0] if self._data.regression else logits.argmax(dim=1)
        found = METRICS[self._data.metric](best.cpu().numpy(), y.cpu().numpy())
        loss = float(self._loss(logits, y).mean())
        return {self._data.metric: found, "test_loss": round(loss, 5)}

    def state_dict(self):
        return {n: p.detach() for n, p in trained(self.network).items()}

    def load_state_dict(self, state):
        with torch.no_grad():
            for name, value in trained(self.network).items():
                value.copy_(state[name])
