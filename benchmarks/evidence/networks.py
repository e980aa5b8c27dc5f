"""The networks: small enough for one core."""

from __future__ import annotations

from torch import nn

__all__ = ["convolutional", "dense"]


def dense(inputs, width, classes):
    """Return two hidden layers of rectified units."""
    return nn.Sequential(
        nn.Flatten(),
        nn.Linear(inputs, width),
        nn.ReLU(),
        nn.Linear(width, width),
        nn.ReLU(),
        nn.Linear(width, classes),
    )


def convolutional(channels, width, side, classes):
    """Return two 4 x 4 convolutions of stride 2, and a linear head."""
    left = side // 2 // 2
    return nn.Sequential(
        nn.Conv2d(channels, width, 4, stride=2, padding=1),
        nn.ReLU(),
        nn.Conv2d(width, 2 * width, 4, stride=2, padding=1),
        nn.ReLU(),
        nn.Flatten(),
        nn.Linear(2 * width * left * left, classes),
    )
