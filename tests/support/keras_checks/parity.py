"""Runs whose ids and values every adapter must share; each returns what it saw."""

from __future__ import annotations

import keras
import numpy as np
from keras_checks.adapter import Products
from keras_checks.common import fit
from ted_keras import TED

from ted_core import Importance

N, BATCH, EPOCHS = 48, 8, 6
OPTIONS = {"epochs": EPOCHS, "prune_ratio": 0.7, "multiple_of": BATCH, "seed": 5}
WEIGHTED = {**OPTIONS, "signal": "loss", "strategy": Importance()}
RATE, WEIGHTED_RATE = 0.25, 0.005


def table():
    """Return the value of each sample in each epoch; float32 holds them exactly."""
    rows = np.arange(EPOCHS)[:, None] * 5 + np.arange(N) * 3
    return (rows % 13 / 4).astype(np.float32)


def problem():
    """Return inputs, classes, and the first weights of a linear classifier."""
    rng = np.random.default_rng(11)
    x = rng.normal(size=(N, 5)).astype(np.float32)
    y = (x[:, 0] + 0.3 * rng.normal(size=N) > 0).astype(np.int64) + (x[:, 1] > 0.5)
    return x, y, rng.normal(scale=0.3, size=(5, 3)).astype(np.float32)


class Orders(keras.callbacks.Callback):
    """Note each epoch's order, and the scores it leaves."""

    def __init__(self, ted):
        super().__init__()
        self.ted, self.orders, self.scores = ted, [], []

    def on_epoch_begin(self, epoch, logs=None):
        self.orders.append(self.ted.pruner.plan().order.tolist())

    def on_epoch_end(self, epoch, logs=None):
        self.scores.append(self.ted.pruner.scores.astype(float).tolist())


def the_same_batches_keep_the_same_ids():
    return _with_known_losses(OPTIONS, 0.0)


def the_same_weights_multiply_the_losses():
    return _with_known_losses(WEIGHTED, WEIGHTED_RATE)


def _with_known_losses(options, rate):
    """Train one weight, by which the losses of the table are multiplied."""
    asked = []
    layer = keras.layers.Dense(1, use_bias=False, kernel_initializer="ones")
    model = keras.Sequential([keras.Input((1,)), layer])
    model.compile(keras.optimizers.SGD(rate), Products())

    def fetch(ids):
        asked.append(ids.tolist())
        epoch = min(ted.pruner.epoch, EPOCHS - 1)
        return np.ones((ids.size, 1), np.float32), table()[epoch, ids, None]

    def begin(epoch, logs):
        asked.clear()

    def end(epoch, logs):
        steps = -(-len(seen.orders[-1]) // BATCH)
        batches.append(asked[:steps])

    ted = TED(model, fetch, n=N, batch_size=BATCH, **options)
    seen, batches = Orders(ted), []
    hooks = keras.callbacks.LambdaCallback(on_epoch_begin=begin, on_epoch_end=end)
    model.fit(ted.data, epochs=EPOCHS, callbacks=[hooks, ted, seen], verbose=0)
    weight = float(model.get_weights()[0][0, 0])
    return {"batches": batches, "scores": seen.scores, "weight": weight}


def the_values_of_a_trained_network():
    x, y, first = problem()
    model = keras.Sequential([keras.Input((5,)), keras.layers.Dense(3)])
    model.set_weights([first, np.zeros(3, np.float32)])
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    model.compile(keras.optimizers.SGD(RATE), loss)
    ted = TED(model, (x, y), batch_size=BATCH, **OPTIONS)
    seen = Orders(ted)
    fit(ted, model, seen)
    return {"orders": seen.orders, "scores": seen.scores}


CHECKS = (
    the_same_batches_keep_the_same_ids,
    the_same_weights_multiply_the_losses,
    the_values_of_a_trained_network,
)
