"""Small runs of PyTorch that several tests share: data, oracle values, one epoch."""

from __future__ import annotations

import copy

import torch
from oracles import vector_delta
from ted_torch import TED
from torch import nn
from torch.nn import functional as F  # noqa: N812
from torch.utils.data import TensorDataset

FEATURES, CLASSES = 6, 4


def labelled(n, seed=5, features=FEATURES):
    """Give n points and their classes."""
    generator = torch.Generator().manual_seed(seed)
    x = torch.randn(n, features, generator=generator)
    return TensorDataset(x, torch.randint(0, CLASSES, (n,), generator=generator))


def opened(data, **options):
    """Give a session whose epoch 0 is open."""
    ratio = {} if "schedule" in options else {"prune_ratio": 0.5}
    ted = TED(data, **{"epochs": 5, **ratio, **options})
    ted.set_epoch(0)
    iter(ted.sampler)  # the tests give the ids themselves
    return ted


def recorded(ted):
    """Give the scores once epoch 0 closes; Polyak starts at the first value."""
    ted.set_epoch(1)
    return torch.from_numpy(ted.pruner.scores)


def cross_entropy(z, y):
    return F.cross_entropy(z, y, reduction="none")


def two_parts(seed=3, hidden=9):
    """Give what comes before the mask, and what comes after it."""
    torch.manual_seed(seed)
    before = nn.Sequential(nn.Linear(FEATURES, hidden), nn.Tanh())
    return before, nn.Linear(hidden, CLASSES)


def oracle(before, after, x, y, loss=cross_entropy):
    """Give the vector delta's values as float32, of copies made of float64."""
    before, after = (copy.deepcopy(part).double() for part in (before, after))
    return vector_delta.values(before, after, loss, x, y).float()
