"""What a TED step in Keras is made of: data, columns, store, value; and closing."""

from __future__ import annotations

import statistics
import time
from functools import partial
from types import SimpleNamespace

import keras
import numpy as np
from keras import ops
from ted_keras._backends import adapt
from ted_keras._objective import Objective
from ted_keras._session import Session, override
from ted_keras.data import TEDData, make_source

from ted_core import Pruner

__all__ = ["Parted", "closing_costs", "reading_costs"]


class Begin(keras.callbacks.Callback):
    """Hand the order of an epoch to the data, as a session does."""

    def __init__(self, data, n):
        super().__init__()
        self._data = data
        self._order = np.random.default_rng(1).permutation(n)
        self._scale = np.ones(n, np.float32)
        self.on_epoch_begin(0)

    def on_epoch_begin(self, epoch, logs=None):
        """Begin."""
        del epoch, logs
        self._data.begin(self._order, self._scale)


class Parted:
    """TED's data and overrides, of which only a part does its work.

    Parameters
    ----------
    model : keras.Model
        Compiled.
    arrays : tuple of ndarray
        Inputs and labels.
    batch : int
        Samples of a batch.
    store : bool
        Whether each step also writes a row a sample to the store.
    """

    mask, recording = None, True

    def __init__(self, model, arrays, batch, *, store):
        n = len(arrays[0])
        self.data = TEDData(make_source(arrays), batch_size=batch)
        self.callback = Begin(self.data, n)
        self.objective = Objective(model)
        self._store = adapt().Store(n, model) if store else None
        override(model, self)

    def step(self, x, y, y_pred, columns):
        """Return the loss that is trained on."""
        total = self.objective.total(x, y, y_pred, columns.scale)
        if self._store is not None:
            ids, _ = columns.parts[0]
            row = ops.cast(ids, "float32")
            total += self._store.add(ids, ops.stack([row, row, row], axis=1))
        return total


def reading_costs(datasets, times=2000):
    """Give the microseconds of reading a batch from each dataset, by median."""
    found = {name: [] for name in datasets}
    for number in range(times):
        for name, data in datasets.items():
            start = time.perf_counter()
            data[number % int(data.num_batches)]
            found[name].append(time.perf_counter() - start)
    return {name: round(1e6 * statistics.median(v), 1) for name, v in found.items()}


def closing_costs(n, epochs=6):
    """Give the seconds from the last step of an epoch to the first of the next."""
    inputs = keras.Input((1,))
    model = keras.Model(inputs, keras.layers.Dense(1)(inputs))
    model.compile("sgd", "mse")
    data = TEDData(make_source(lambda ids: (ids, ids), n=n), batch_size=128)
    session = Session(model, data, partial(Pruner, n), epochs=epochs)
    store = adapt().Store(n, model)
    session.recorder = SimpleNamespace(mixes=False, store=store)
    session.begin(0)
    closing, draw = [], np.random.default_rng(0)
    for epoch in range(1, epochs):
        ids = session.pruner.plan().order
        once = np.ones(ids.size)  # received, with a value that weighs 1
        rows = np.stack([draw.random(ids.size), once, once], axis=1)
        store.add(
            ops.convert_to_tensor(ids.astype(np.int32)),
            ops.convert_to_tensor(rows.astype(np.float32)),
        )
        start = time.perf_counter()
        session.close()
        session.begin(epoch)
        closing.append(time.perf_counter() - start)
    return {
        "n": n,
        "epochs closed": len(closing),
        "median seconds": round(statistics.median(closing), 5),
        "largest seconds": round(max(closing), 5),
    }
