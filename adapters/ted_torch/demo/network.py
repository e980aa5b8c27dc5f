"""The demo's network: convolutions with batch norm, a mean over places, a line."""

from __future__ import annotations

import torch
from torch import nn

__all__ = ["make_network"]

_DOUBLINGS = 2


def make_network(
    *, channels: int, side: int, classes: int, width: int, seed: int
) -> nn.Sequential:
    """Return a small convolutional network.

    Each stage is a convolution of 3 x 3, batch norm, ReLU, and a max pool that halves
    the side; there are as many as leave at least 4 x 4 places to convolve. The number
    of channels doubles twice, then stays.

    Parameters
    ----------
    channels : int
        Channels of the pictures.
    side : int
        Shorter side of the pictures in pixels, at least 4.
    classes : int
        Logits.
    width : int
        Channels of the first stage.
    seed : int
        Seed of the initial weights. PyTorch's own generator is left as it was.

    Returns
    -------
    torch.nn.Sequential
        Network from (B, channels, height, width) to (B, classes).

    Examples
    --------
    >>> import torch
    >>> from ted_torch.demo import make_network
    >>> network = make_network(channels=3, side=32, classes=10, width=4, seed=0)
    >>> network(torch.zeros(2, 3, 32, 32)).shape
    torch.Size([2, 10])
    """
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        layers: list[nn.Module] = []
        inputs, stage = channels, 0
        while side >= 4:  # noqa: PLR2004 - the docstring's places
            outputs = width * 2 ** min(stage, _DOUBLINGS)
            layers += [
                nn.Conv2d(inputs, outputs, 3, padding=1, bias=False),
                nn.BatchNorm2d(outputs),
                nn.ReLU(),
            ]
            side //= 2
            if side >= 2:  # noqa: PLR2004 - one place is not halved
                layers.append(nn.MaxPool2d(2))
            inputs, stage = outputs, stage + 1
        head = [nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(inputs, classes)]
        return nn.Sequential(*layers, *head)
