"""The networks: small enough for one core."""

from __future__ import annotations

import torch
from torch import nn

__all__ = ["Patches", "convolutional", "dense", "pooled"]


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


class Patches(nn.Module):
    """Two layers on each patch of a grey picture, their mean, and a linear head.

    Patches of 6 x 6 pixels, 4 apart: a convolution, as products of matrices.
    """

    SIDE, STRIDE = 6, 4

    def __init__(self, width, classes):
        super().__init__()
        self._body = nn.Sequential(
            nn.Linear(self.SIDE**2, width, bias=False),
            nn.BatchNorm1d(width),
            nn.ReLU(),
            nn.Linear(width, width),
            nn.ReLU(),
        )
        self._head = nn.Linear(width, classes)

    def forward(self, x):
        rows = x[:, 0].unfold(1, self.SIDE, self.STRIDE)
        patches = rows.unfold(2, self.SIDE, self.STRIDE).flatten(3)
        features = self._body(patches.reshape(-1, self.SIDE**2))
        return self._head(features.view(len(x), -1, features.shape[1]).mean(1))


def pooled(channels, width, side, classes):
    """Return 3 x 3 convolutions with batch norm and max pools, the mean, and a head."""
    layers, inputs, stage = [], channels, 0
    while side >= 4:
        outputs = width * 2 ** min(stage, 2)
        convolution = nn.Conv2d(inputs, outputs, 3, padding=1, bias=False)
        layers += [convolution, nn.BatchNorm2d(outputs), nn.ReLU()]
        if side >= 8:
            layers.append(nn.MaxPool2d(2))
        side, inputs, stage = side // 2, outputs, stage + 1
    layers += [nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(inputs, classes)]
    return nn.Sequential(*layers).to(memory_format=torch.channels_last)
