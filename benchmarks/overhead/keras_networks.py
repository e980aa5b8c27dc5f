"""Networks and data of the Keras step benchmark."""

from __future__ import annotations

import keras
import numpy as np
from keras import layers
from ted_keras import Mask

__all__ = ["NETWORKS", "SHAPES", "Batches", "Nothing", "make_data", "make_model"]

SHAPES = {"small": (32, 32, 3), "tiny": (32,), "nothing": (32,)}
"""Shape of a sample, for each network."""


def make_data(network, n):
    """Give inputs and labels, drawn at random."""
    rng = np.random.default_rng(0)
    x = rng.normal(size=(n, *SHAPES[network])).astype(np.float32)
    return x, rng.integers(0, 10, n)


class Batches(keras.utils.PyDataset):
    """A plain dataset: the rows of a shuffled order, in batches.

    Parameters
    ----------
    arrays : tuple of ndarray
        ``(x, y)`` or ``(x, y, weights)``.
    batch : int
        Samples of a batch.
    """

    def __init__(self, arrays, batch):
        super().__init__()
        self._arrays, self._batch = arrays, batch
        self._order = np.random.default_rng(1).permutation(len(arrays[0]))

    @property
    def num_batches(self):
        """Batches of an epoch."""
        return len(self._order) // self._batch

    def __getitem__(self, index):
        """Return a batch."""
        ids = self._order[index * self._batch : (index + 1) * self._batch]
        return tuple(array[ids] for array in self._arrays)


class Nothing(keras.Model):
    """A model whose step does nothing: what is left of a fit is Keras and the data."""

    def train_step(self, *given):
        """Return a loss of 0, and with JAX the state as it came."""
        logs = {"loss": 0.0}
        return logs if len(given) == 1 else (logs, given[0])


def plain_cnn(width, mask):
    """Give four convolutions with batch norm, two of them with stride 2."""
    parts = [keras.Input(SHAPES["small"])]
    for number, (outputs, stride) in enumerate([(1, 1), (1, 2), (2, 2), (2, 1)]):
        parts.append(
            layers.Conv2D(outputs * width, 3, stride, padding="same", use_bias=False)
        )
        if number == 0 and mask == "first layer":
            parts.append(Mask())
        parts += [layers.BatchNormalization(), layers.ReLU()]
    return [*parts, layers.GlobalAveragePooling2D()]


def tiny(mask):
    """Give one hidden layer of 64."""
    parts = [keras.Input(SHAPES["tiny"]), layers.Dense(64)]
    if mask == "first layer":
        parts.append(Mask())
    return [*parts, layers.ReLU()]


NETWORKS = {
    "small": lambda mask: plain_cnn(6, mask),
    "tiny": tiny,
}


def make_model(network, *, jit, mask=None):
    """Give a compiled model, with a mask at the feature or the first layer's output."""
    keras.utils.set_random_seed(0)
    if network == "nothing":
        inputs = keras.Input(SHAPES[network])
        model = Nothing(inputs, layers.Dense(10)(inputs))
    else:
        parts = NETWORKS[network](mask)
        if mask == "feature":
            parts.append(Mask())
        model = keras.Sequential([*parts, layers.Dense(10)])
    model.compile(
        keras.optimizers.SGD(0.01, momentum=0.9),
        keras.losses.SparseCategoricalCrossentropy(from_logits=True),
        jit_compile=jit,
    )
    return model
