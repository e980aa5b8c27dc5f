"""The networks: each returns its feature, the input of the last layer, and logits."""

from __future__ import annotations

import torch
from torch import nn
from torch.nn import functional as F  # noqa: N812 - PyTorch's own habit

__all__ = ["NETWORKS", "Network", "make_network"]


class Network(nn.Module):
    """A body and a linear head; ``network(x)`` is ``(feature, logits)``."""

    def __init__(self, body, width, classes):
        super().__init__()
        self.body, self.head = body, nn.Linear(width, classes)

    def forward(self, x):
        feature = self.body(x).mean(dim=(2, 3))
        return feature, self.head(feature)


def conv(inputs, outputs, size=3, stride=1):
    """Return a convolution and its batch norm."""
    layer = nn.Conv2d(inputs, outputs, size, stride, padding=size // 2, bias=False)
    return [layer, nn.BatchNorm2d(outputs)]


class Block(nn.Module):
    """Residual block (He et al. 2016): two 3 x 3, or 1 x 1, 3 x 3, 1 x 1."""

    def __init__(self, inputs, width, stride, *, expansion=1):
        super().__init__()
        outputs = width * expansion
        if expansion == 1:
            layers = [*conv(inputs, width, 3, stride), nn.ReLU(), *conv(width, width)]
        else:
            layers = [*conv(inputs, width, 1), nn.ReLU()]
            layers += [*conv(width, width, 3, stride), nn.ReLU()]
            layers += conv(width, outputs, 1)
        self.layers = nn.Sequential(*layers)
        same = stride == 1 and inputs == outputs
        self.skip = nn.Sequential(*([] if same else conv(inputs, outputs, 1, stride)))

    def forward(self, x):
        return F.relu(self.layers(x) + self.skip(x))


def residual(classes, channels, *, stem, widths, blocks, expansion=1):
    """Return a residual network of stages that halve the side but for the first."""
    layers, inputs = stem(channels), widths[0] if len(widths) == 3 else 64
    for stage, (width, count) in enumerate(zip(widths, blocks, strict=True)):
        for index in range(count):
            stride = 2 if stage > 0 and index == 0 else 1
            layers.append(Block(inputs, width, stride, expansion=expansion))
            inputs = width * expansion
    return Network(nn.Sequential(*layers), inputs, classes)


def small_stem(width):
    """Return the stem for pictures of 32 x 32."""
    return lambda channels: [*conv(channels, width), nn.ReLU()]


def large_stem(channels):
    """Return the stem for pictures of 224 x 224."""
    return [*conv(channels, 64, 7, 2), nn.ReLU(), nn.MaxPool2d(3, 2, padding=1)]


def small(classes, channels, *, width=16, side=16):
    """Return 3 x 3 convolutions with batch norm and max pools down to 4 pixels."""
    layers, inputs, stage = [], channels, 0
    while side >= 4:
        outputs = width * 2 ** min(stage, 2)
        layers += [*conv(inputs, outputs), nn.ReLU()]
        if side >= 8:
            layers.append(nn.MaxPool2d(2))
        side, inputs, stage = side // 2, outputs, stage + 1
    return Network(nn.Sequential(*layers), inputs, classes)


def resnet18(classes, channels):
    """Return ResNet-18 for pictures of 32 x 32."""
    widths, blocks = (64, 128, 256, 512), (2, 2, 2, 2)
    stem = small_stem(64)
    return residual(classes, channels, stem=stem, widths=widths, blocks=blocks)


def resnet32(classes, channels):
    """Return ResNet-32 (16, 32, 64 channels) for pictures of 32 x 32."""
    widths, blocks = (16, 32, 64), (5, 5, 5)
    stem = small_stem(16)
    return residual(classes, channels, stem=stem, widths=widths, blocks=blocks)


def resnet50(classes, channels):
    """Return ResNet-50 for pictures of 224 x 224."""
    widths, blocks = (64, 128, 256, 512), (3, 4, 6, 3)
    options = {"stem": large_stem, "widths": widths, "blocks": blocks}
    return residual(classes, channels, expansion=4, **options)


NETWORKS = {
    "small": small,
    "resnet18": resnet18,
    "resnet32": resnet32,
    "resnet50": resnet50,
}


def make_network(name, *, classes, channels, seed, **options):
    """Return a network whose weights depend on the seed alone, channels last."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        network = NETWORKS[name](classes, channels, **options)
    return network.to(memory_format=torch.channels_last)
