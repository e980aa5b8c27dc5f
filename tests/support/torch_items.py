"""Data sets of many kinds of items; importable, so that workers can be spawned."""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import torch
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
