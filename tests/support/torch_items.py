"""Data sets of many kinds of items; importable, so that workers can be spawned."""

from __future__ import annotations

import random
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import torch
from torch.nn.utils.rnn import pad_sequence
from torch.utils.data import Dataset, Subset
from torch_runs import CLASSES, labelled


class Pair(NamedTuple):
    x: torch.Tensor
    y: torch.Tensor


@dataclass
class Example:
    x: torch.Tensor
    y: torch.Tensor


def stack(examples):
    """Collate examples, as a user whose items PyTorch can't collate writes it."""
    return Example(
        torch.stack([example.x for example in examples]),
        torch.stack([example.y for example in examples]),
    )


def collate(pairs):
    """Collate pairs of an id and an example."""
    return torch.tensor([k for k, _ in pairs]), stack([item for _, item in pairs])


class OfEpoch(Dataset):
    """A data set whose items tell the epoch that it has heard of."""

    def __init__(self, n):
        self.n, self.epoch = n, -1

    def __len__(self):
        return self.n

    def __getitem__(self, k):
        return self.epoch

    def set_epoch(self, epoch):
        self.epoch = epoch


class Items(Dataset):
    """Points of one kind of item: what `make` returns for x and y."""

    def __init__(self, n, make=Pair):
        self.x, self.y = labelled(n).tensors
        self.make = make

    def __len__(self):
        return len(self.x)

    def __getitem__(self, index):
        return self.make(self.x[index], self.y[index])


class Rows(Items):
    """Rows like those of Hugging Face's data sets: dicts, whole batches at once."""

    def __getitem__(self, index):
        return {"x": self.x[index].tolist(), "label": int(self.y[index]), "name": "a"}

    def __getitems__(self, indices):
        return [self[index] for index in indices]


class Asked(Items):
    """Points that note which of them they are asked for."""

    def __init__(self, *args):
        super().__init__(*args)
        self.ids = []

    def __getitem__(self, index):
        self.ids.append(index)
        return super().__getitem__(index)


def in_one(x, y):
    return torch.cat([x, y[None].float()])


def as_dict(x, y):
    return {"x": x, "y": y}


def as_tuple(x, y):
    return x, y


def unpack(batch):
    """Give x and y of a batch of any of these kinds."""
    if isinstance(batch, torch.Tensor):
        return batch[:, :-1].contiguous(), batch[:, -1].long()
    if isinstance(batch, dict):
        x = batch["x"]
        # Lists of numbers come out as a list of columns.
        x = torch.stack(x, dim=1).float() if isinstance(x, list) else x
        return x, batch["label" if "label" in batch else "y"]
    if isinstance(batch, Example):
        return batch.x, batch.y
    return batch[0], batch[1]


def reverse(n):
    """Give the points in reverse, out of a larger data set."""
    return Subset(Items(n + CLASSES), list(range(n + CLASSES - 1, CLASSES - 1, -1)))


class StatefulNoise(Dataset):
    """Points with noise from a generator of the data set's own."""

    def __init__(self, n):
        self.points = labelled(n)
        self.generator = np.random.default_rng(7)

    def __len__(self):
        return len(self.points)

    def __getitem__(self, index):
        x, y = self.points[index]
        noise = self.generator.standard_normal(x.shape, dtype=np.float32)
        return x + torch.from_numpy(noise), y

    def state_dict(self):
        return {"generator": self.generator.bit_generator.state}

    def load_state_dict(self, state):
        self.generator.bit_generator.state = state["generator"]


class GlobalNoise(Dataset):
    """Draws from the global generators of PyTorch, Python and NumPy."""

    def __init__(self, n):
        self.n = n

    def __len__(self):
        return self.n

    def __getitem__(self, k):
        return torch.rand(()) + random.random() + np.random.random()  # noqa: NPY002, S311


class Texts(Dataset):
    """Sequence k is filled with k, of a length that is shared with others."""

    def __init__(self, n, broken=()):
        self.n = n
        self.broken = set(broken)

    def __len__(self):
        return self.n

    def __getitem__(self, k):
        if k in self.broken:
            return None
        return torch.full((1 + 7 * k % 5,), float(k)), k


def padded(items):
    x = pad_sequence([x for x, _ in items], batch_first=True)
    return x, torch.tensor([len(x) for x, _ in items]), [k for _, k in items]


def by_length(items):
    """Sort a list of its own, as `pack_padded_sequence` wants it."""
    return padded(sorted(items, key=lambda item: len(item[0]), reverse=True))
