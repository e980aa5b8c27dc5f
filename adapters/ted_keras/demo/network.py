"""The demo's network: convolutions with batch norm, a mean over places, a line."""

from __future__ import annotations

from typing import Any

import keras
from keras import layers

__all__ = ["make_network"]

_DOUBLINGS = 2
_LAYERS = 1000


def make_network(
    *, shape: tuple[int, int, int], classes: int, width: int, seed: int
) -> Any:
    """Return a small convolutional network.

    Each stage is a convolution of 3 x 3, batch norm, ReLU, and a max pool that halves
    the side; there are as many as leave at least 4 x 4 places to convolve. The number
    of channels doubles twice, then stays.

    Parameters
    ----------
    shape : tuple of int
        Height, width and channels of the pictures; both sides at least 4 pixels.
    classes : int
        Logits.
    width : int
        Channels of the first stage.
    seed : int
        Seed of the initial weights. Keras' own generator is left as it was.

    Returns
    -------
    keras.Sequential
        Network from (B, height, width, channels) to (B, classes).

    Examples
    --------
    >>> from ted_keras.demo import make_network
    >>> network = make_network(shape=(32, 32, 3), classes=10, width=4, seed=0)
    >>> network.output_shape
    (None, 10)
    """
    parts: list[Any] = [keras.Input(shape)]
    side, stage, first = min(shape[:2]), 0, _LAYERS * seed
    while side >= 4:  # noqa: PLR2004 - the docstring's places
        parts += [
            layers.Conv2D(
                width * 2 ** min(stage, _DOUBLINGS),
                3,
                padding="same",
                use_bias=False,
                kernel_initializer=keras.initializers.HeNormal(first + stage),
            ),
            layers.BatchNormalization(momentum=0.9, epsilon=1e-5),
            layers.ReLU(),
        ]
        side //= 2
        if side >= 2:  # noqa: PLR2004 - one place is not halved
            parts.append(layers.MaxPool2D(2))
        stage += 1
    last = keras.initializers.GlorotUniform(first + stage)
    parts += [
        layers.GlobalAveragePooling2D(),
        layers.Dense(classes, kernel_initializer=last),
    ]
    return keras.Sequential(parts)
