"""Networks of the step benchmark: a first convolution, a body, and a linear head."""

from __future__ import annotations

from torch import nn
from torch.nn import functional as F  # noqa: N812

__all__ = ["NETWORKS", "Network"]


class Network(nn.Module):
    """Three parts in a row, so that a mask can stand between any two.

    Parameters
    ----------
    width : int
        Channels of the first convolution, which has no bias.
    body : nn.Module
        From there to the feature, shape (B, features).
    features : int
        Size of the feature.
    """

    def __init__(self, width, body, features):
        super().__init__()
        self.stem = nn.Conv2d(3, width, 3, padding=1, bias=False)
        self.body = body
        self.head = nn.Linear(features, 10)

    def forward(self, x):
        """Return the logits, shape (B, 10), of images of shape (B, 3, 32, 32)."""
        return self.head(self.body(self.stem(x)))


class Block(nn.Module):
    """Basic residual block: two 3x3 convolutions and a shortcut."""

    def __init__(self, inputs, outputs, stride):
        super().__init__()
        self.first = convolution(inputs, outputs, stride)
        self.second = convolution(outputs, outputs)
        self.shortcut = nn.Sequential()
        if stride != 1 or inputs != outputs:
            self.shortcut = convolution(inputs, outputs, stride, size=1)

    def forward(self, x):
        """Return the block's output."""
        return F.relu(self.second(F.relu(self.first(x))) + self.shortcut(x))


def convolution(inputs, outputs, stride=1, size=3):
    conv = nn.Conv2d(inputs, outputs, size, stride, size // 2, bias=False)
    return nn.Sequential(conv, nn.BatchNorm2d(outputs))


def plain_cnn(width):
    """Give four convolutions with batch norm, the second of them with stride 2."""
    parts = [nn.BatchNorm2d(width), nn.ReLU()]
    for inputs, outputs, stride in [(1, 1, 2), (1, 2, 2), (2, 2, 1)]:
        parts += [convolution(inputs * width, outputs * width, stride), nn.ReLU()]
    body = nn.Sequential(*parts, nn.AdaptiveAvgPool2d(1), nn.Flatten())
    return Network(width, body, 2 * width)


def resnet18(width=64):
    """Give the residual network of 18 layers with a 3x3 stem and no first pooling."""
    parts = [nn.BatchNorm2d(width), nn.ReLU()]
    inputs = width
    for stage in range(4):
        outputs = width << stage
        parts += [
            Block(inputs, outputs, 1 if stage == 0 else 2),
            Block(outputs, outputs, 1),
        ]
        inputs = outputs
    body = nn.Sequential(*parts, nn.AdaptiveAvgPool2d(1), nn.Flatten())
    return Network(width, body, inputs)


NETWORKS = {
    "small": lambda: plain_cnn(6),
    "large": lambda: plain_cnn(18),
    "resnet18": resnet18,
}
