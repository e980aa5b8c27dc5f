"""Texts from files, and sequences of different lengths as batches."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import torch

__all__ = ["Ragged", "by_length", "read_rows"]

CHUNK = 16
"""Batches of one chunk; in it they are of like lengths."""


def read_rows(folder, *names, samples=None):
    """Return the first rows of ``folder/names.jsonl``, one JSON object a line."""
    path = Path(folder, *names).with_suffix(".jsonl")
    with path.open(encoding="utf-8") as lines:
        rows = [json.loads(line) for line in lines if line.strip()]
    return rows[:samples]


class Ragged:
    """Sequences, one after the other in one tensor.

    Parameters
    ----------
    rows : list of Tensor, shapes (T_k, ...)
        The sequences.
    """

    def __init__(self, rows):
        self.lengths = torch.tensor([len(row) for row in rows])
        self._values = torch.cat(rows)
        self._starts = self.lengths.cumsum(0) - self.lengths

    def __len__(self):
        return len(self.lengths)

    def __getitem__(self, k):
        return self._values[self._starts[k] : self._starts[k] + self.lengths[k]]

    def to(self, device):
        """Move the sequences, not their lengths."""
        self._values = self._values.to(device)
        return self

    def padded(self, ids):
        """Return sequences as (B, T, ...), and which of (B, T) are no padding.

        What stands in the padding are other sequences, never 0 for its own sake.
        """
        lengths, place = self.lengths[ids], torch.arange(int(self.lengths[ids].max()))
        valid = place < lengths[:, None]
        found = (self._starts[ids, None] + place).clamp(max=len(self._values) - 1)
        device = self._values.device
        return self._values[found.to(device)], valid.to(device)


def by_length(order, lengths, batch, dice):
    """Cut an order into batches of like lengths, which come in any order.

    Each 16 batches of samples are sorted by length and cut; so little is padded, and
    which samples meet differs by epoch.
    """
    parts = []
    for chunk in order.split(CHUNK * batch):
        parts += chunk[lengths[chunk].argsort(stable=True)].split(batch)
    # The one that may be short stays last.
    last = [parts.pop()] if len(parts[-1]) < batch else []
    return [parts[place] for place in dice.permutation(len(parts))] + last


def batches(order, lengths, training, *, seed, epoch):
    """Return an epoch's batches as a configuration wants them."""
    if not training.get("by_length"):
        return order.split(training["batch"])
    dice = np.random.default_rng([seed, epoch])
    return by_length(order, lengths, training["batch"], dice)
