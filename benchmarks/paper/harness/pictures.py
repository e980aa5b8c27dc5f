"""Pictures that live on the device; a batch is one indexing, augmented in place."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch

from ted_core.demo.datasets import Images, load_images

__all__ = ["Pictures", "load"]

MARGIN = 8
"""A crop shifts by at most a side over this, as 4 of 32 pixels."""
BIG = 2**32
"""Bytes of training pictures above which they stay where they are."""


def load(name, folder, *, samples=None, side=None):
    """Return the first `samples` pictures of a set, pooled down to `side` pixels.

    A set is ``folder/name.npz`` or a folder ``folder/name`` of ``x_train.npy``,
    ``y_train.npy``, ``x_test.npy``, ``y_test.npy``; pictures of a folder that are too
    many for memory stay on disk. ``generated`` needs no file.
    """
    if name == "generated":
        images = generated(samples or 512)
    elif (Path(folder) / name / "x_train.npy").is_file():
        arrays = (Path(folder) / name / f"{part}.npy" for part in PARTS)
        images = Images(*(np.load(path, mmap_mode="r") for path in arrays))
    else:
        images = load_images(Path(folder) / f"{name}.npz")
    x, y = images.x_train, images.y_train
    if samples and samples < len(y):
        x, y = x[:samples], y[:samples]
    x_test = images.x_test
    if side and side < x.shape[1]:
        x, x_test = pooled(x, side), pooled(x_test, side)
    return Images(x, y, x_test, images.y_test)


PARTS = ("x_train", "y_train", "x_test", "y_test")


def pooled(x, side):
    """Return pictures whose pixels are the rounded means of blocks."""
    block = x.shape[1] // side
    cut = x[:, : side * block, : side * block].astype(np.float32)
    blocks = cut.reshape(len(x), side, block, side, block, -1).mean(axis=(2, 4))
    return np.rint(blocks).astype(np.uint8).reshape(len(x), side, side, *x.shape[3:])


def generated(samples, tests=256, classes=4, side=8):
    """Return noisy copies of one random picture a class, the same ones every time."""
    dice = np.random.default_rng(0)
    patterns = dice.integers(64, 192, size=(classes, side, side, 3))
    y = dice.integers(0, classes, size=samples + tests)
    x = patterns[y] + dice.normal(0, 60, size=(len(y), side, side, 3))
    x = np.clip(x, 0, 255).astype(np.uint8)
    return Images(x[:samples], y[:samples], x[samples:], y[samples:])


class Pictures:
    """Pictures of one split, standardised by the batch.

    Parameters
    ----------
    x, y : ndarray
        Pixels, uint8 of shape (n, H, W) or (n, H, W, 3), and classes, shape (n,).
    scale : tuple of ndarray
        Mean and standard deviation of each channel.
    device : torch.device or str
        Where the batches are wanted. The pictures are kept there, if they are few.
    augment : {"", "crop", "crop and flip", "resized crop and flip"}
        What happens to each picture of a batch.
    crop : int, optional
        Side of what a resized crop returns.
    """

    def __init__(self, x, y, *, scale, device, augment="", crop=None):
        self._on_disk = isinstance(x, np.memmap) and x.nbytes > BIG
        self._augment, self._crop = augment, crop
        self._device = torch.device(device)
        pixels = x.reshape(*x.shape[:3], -1)
        self._x = pixels if self._on_disk else torch.tensor(pixels).to(device)
        self._y = torch.tensor(y, dtype=torch.int64).to(device)
        self._mean, self._sd = (
            torch.as_tensor(s, dtype=torch.float32).to(device) for s in scale
        )

    def __len__(self):
        return len(self._y)

    @property
    def place(self):
        """Device on which ids are looked up."""
        return torch.device("cpu") if self._on_disk else self._device

    def batch(self, ids, dice=None):
        """Return x (B, C, H, W), channels last, and y (B,); `dice` draws the crops."""
        places = ids.to(self._device)
        if self._on_disk:
            x = torch.as_tensor(self._x[ids.numpy()]).to(self._device)
        else:
            x = self._x[places]
        if dice is not None and "resized" in self._augment:
            x = resized_crops(x, self._crop, dice)
        elif dice is not None and self._augment:
            x = crops(x, dice, flips="flip" in self._augment)
        elif self._crop:
            edge = (x.shape[1] - self._crop) // 2
            x = x[:, edge : edge + self._crop, edge : edge + self._crop]
        x = (x.float() - self._mean) / self._sd
        x = x.permute(0, 3, 1, 2).contiguous(memory_format=torch.channels_last)
        return x, self._y[places]


def crops(x, dice, *, flips):
    """Return crops of the pictures with a black margin, mirrored at random."""
    b, height, width = x.shape[:3]
    margin = height // MARGIN
    ranges = torch.tensor([2 * margin + 1, 2 * margin + 1, 2], device=x.device)
    drawn = torch.rand((b, 3), generator=dice, device=x.device) * ranges
    down, right, flip = drawn.long().T
    sides = (0, 0, margin, margin, margin, margin)
    x = torch.nn.functional.pad(x, sides)
    columns = torch.arange(width, device=x.device).expand(b, width)
    if flips:
        columns = torch.where(flip[:, None] == 1, columns.flip(1), columns)
    rows = torch.arange(height, device=x.device) + down[:, None]
    k = torch.arange(b, device=x.device)[:, None, None]
    return x[k, rows[:, :, None], (columns + right[:, None])[:, None, :]]


def resized_crops(x, side, dice):
    """Return windows of 8 % to all of the area and 3/4 to 4/3 of the aspect, resized.

    One window is drawn a picture, and cut to what fits in it.
    """
    drawn = torch.rand((len(x), 5), generator=dice, device=x.device)
    area = 0.08 + 0.92 * drawn[:, 0]
    aspect = torch.exp((2 * drawn[:, 1] - 1) * np.log(4 / 3))
    w, h = ((area * r).sqrt().clamp(max=1) for r in (aspect, 1 / aspect))
    flip = torch.where(drawn[:, 4] < 0.5, -1.0, 1.0)
    theta = torch.zeros(len(x), 2, 3, device=x.device)
    theta[:, 0, 0], theta[:, 0, 2] = w * flip, (2 * drawn[:, 2] - 1) * (1 - w)
    theta[:, 1, 1], theta[:, 1, 2] = h, (2 * drawn[:, 3] - 1) * (1 - h)
    planes = x.permute(0, 3, 1, 2).float()
    shape = [len(x), planes.shape[1], side, side]
    functional = torch.nn.functional
    grid = functional.affine_grid(theta, shape, align_corners=False)
    out = functional.grid_sample(planes, grid, align_corners=False)
    return out.permute(0, 2, 3, 1)
