"""A comparison of sessions of ``model.fit``."""

from __future__ import annotations

import keras
import numpy as np
from ted_keras import TED

import ted_core

X = np.random.default_rng(0).normal(size=(48, 5)).astype("float32")
Y = (X[:, 0] > 0).astype("int32") + (X[:, 1] > 0)


def train(*, seed, epochs, **options):
    keras.utils.set_random_seed(seed)
    model = keras.Sequential([keras.Input((5,)), keras.layers.Dense(3)])
    ted = TED(model, (X, Y), batch_size=16, epochs=epochs, seed=seed, **options)
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    # Twelve short fits: tracing their steps would take longer than running them.
    options = {"metrics": ["accuracy"], "run_eagerly": True}
    model.compile(keras.optimizers.SGD(0.5), loss, **options)
    model.fit(ted.data, epochs=epochs, callbacks=[ted], verbose=0)
    _, right = model.evaluate(X, Y, verbose=0)
    return right, ted


def test_a_fit_is_compared():
    result = ted_core.compare(
        train, epochs=6, methods=["ted"], budgets=[1.0], seeds=3, progress=False
    )
    assert [row.arm for row in result.rows] == [
        "full",
        "full, pruned rate",
        "random",
        "ted",
    ]
    full, *pruned = result.rows
    assert full.samples == 6 * 48
    for row in pruned:
        assert row.epochs > 6
        # Counts may be rounded up to whole batches.
        assert full.samples - 48 <= row.samples <= full.samples + row.epochs * 16
