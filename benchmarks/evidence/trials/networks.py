"""The networks: small enough for one core."""

from __future__ import annotations

from torch import nn

__all__ = ["convolutional", "dense"]


def dense(inputs, width, classes):
    """Return two hidden layers with batch norm, and a linear head."""
    return nn.Sequential(
        nn.Flatten(),
        nn.Linear(inputs, width, bias=False),
        nn.BatchNorm1d(width),
        nn.ReLU(),
        nn.Linear(width, width, bias=False),
        nn.BatchNorm1d(width),
        nn.ReLU(),
        nn.Linear(width, classes),
    )


def convolutional(channels, width, side, classes):
    """Return two 4 x 4 convolutions of stride 2 with batch norm, and a linear head."""
    left = side // 2 // 2
    return nn.Sequential(
        nn.Conv2d(channels, width, 4, stride=2, padding=1, bias=False),
        nn.BatchNorm2d(width),
        nn.ReLU(),
        nn.Conv2d(width, 2 * width, 4, stride=2, padding=1, bias=False),
        nn.BatchNorm2d(2 * width),
        nn.ReLU(),
        nn.Flatten(),
        nn.Linear(2 * width * left * left, classes),
    )
