"""Picture sets, shrunk, and augmented a few batches at a time."""

from __future__ import annotations

import copy
from pathlib import Path

import numpy as np
import torch
from torch.nn import functional as F  # noqa: N812 - PyTorch's own habit

from ted_core.demo.datasets import load_images

__all__ = ["Pictures", "load"]

AT_ONCE = 16
"""Batches that are augmented together."""


def load(name, folder, *, samples, side, margin, flip=True):
    """Return the first `samples` pictures of ``folder/name.npz`` at `side` pixels."""
    images = load_images(Path(folder) / f"{name}.npz")
    x, y = shrink(images.x_train[:samples], side), images.y_train[:samples]
    x_test = shrink(images.x_test, side)
    mean, sd = x.mean((0, 2, 3), keepdims=True), x.std((0, 2, 3), keepdims=True)
    x, y, x_test, y_test = (
        torch.as_tensor(array)
        for array in ((x - mean) / sd, y, (x_test - mean) / sd, images.y_test)
    )
    return Pictures(x, y, x_test, y_test, margin=margin, flip=flip)


def shrink(x, side):
    """Return pictures whose pixels are the means of blocks, float32 (n, C, H, W)."""
    n, block = len(x), x.shape[1] // side
    cut = x[:, : side * block, : side * block].astype(np.float32)
    means = cut.reshape(n, side, block, side, block, -1).mean(axis=(2, 4))
    return np.ascontiguousarray(means.transpose(0, 3, 1, 2))


class Pictures:
    """Pictures; those to train on shift by up to `margin` pixels and may mirror."""

    def __init__(self, x, y, x_test, y_test, *, margin, flip):
        self._side, self._margin, self._flip = x.shape[-1], margin, flip
        self._x = F.pad(x, (margin,) * 4).permute(0, 2, 3, 1).contiguous()
        self._y, self._x_test, self._y_test = y, x_test, y_test

    def __len__(self):
        return len(self._y)

    def with_wrong_labels(self, share):
        """Return the same pictures with a share of wrong labels to train on, and which.

        The labels and the samples are drawn by one seed; those of the test are right.
        """
        dice = torch.Generator().manual_seed(7)
        wrong = torch.randperm(len(self), generator=dice)[: round(share * len(self))]
        classes = int(self._y.max()) + 1
        added = torch.randint(1, classes, (len(wrong),), generator=dice)
        labels = self._y.clone()
        labels[wrong] = (labels[wrong] + added) % classes
        other = copy.copy(self)
        vars(other)["_y"] = labels
        return other, wrong

    def batches(self, parts, dice):
        """Go through batches of ids, by ids, x, y; `dice` draws the shifts."""
        for first in range(0, len(parts), AT_ONCE):
            group = parts[first : first + AT_ONCE]
            ids, sizes = torch.cat(group), [len(part) for part in group]
            x, y = self._augmented(ids, dice), self._y[ids]
            yield from zip(group, x.split(sizes), y.split(sizes), strict=True)

    def train(self):
        """Go through the training pictures by batches of x, y, augmented once."""
        dice = torch.Generator().manual_seed(0)
        for _, x, y in self.batches(torch.arange(len(self)).split(1000), dice):
            yield x, y

    def test(self):
        """Go through the test pictures by batches of x, y."""
        yield from zip(self._x_test.split(1000), self._y_test.split(1000), strict=True)

    def _augmented(self, ids, dice):
        down, right = torch.randint(
            0, 2 * self._margin + 1, (2, len(ids), 1), generator=dice
        )
        span = torch.arange(self._side)
        columns = span.expand(len(ids), -1)
        if self._flip:
            flip = torch.randint(0, 2, (len(ids), 1), generator=dice) == 1
            columns = torch.where(flip, columns.flip(1), columns)
        rows, columns = span + down, columns + right
        x = self._x[ids[:, None, None], rows[:, :, None], columns[:, None, :]]
        return x.permute(0, 3, 1, 2)  # channels last in memory
