"""The runs of `ted_keras.TED` whose saved states are fixtures."""

from __future__ import annotations

import shutil

import keras
import numpy as np
from keras import ops
from saved_runs import EPOCHS, FOLDER, N, begun, ended, row, values
from ted_keras import TED

from ted_core import load_state

__all__ = ["BATCH", "path", "resumed", "written"]

BATCH = 4


class Stopped(Exception):  # noqa: N818 - no error: the run is to stop there
    """The run was stopped where its state is kept."""


class Values(keras.losses.Loss):
    """Losses that are the samples' values, which no weight of the model changes."""

    def __init__(self):
        super().__init__()
        self.table = np.stack([values(range(N), t) for t in range(2 * EPOCHS)])
        self.epoch = keras.Variable(0, trainable=False, dtype="int32")

    def call(self, y_true, y_pred):
        ids = ops.cast(ops.reshape(y_true, (-1,)), "int32")
        found = ops.take(ops.convert_to_tensor(self.table), self.epoch * N + ids)
        return found + 0 * ops.sum(y_pred, axis=-1)


class Follow(keras.callbacks.Callback):
    """Tell the loss its epoch, note each one's plan, and stop the run."""

    def __init__(self, ted, loss, stop=None):
        super().__init__()
        self.ted, self.loss, self.stop = ted, loss, stop
        self.rows, self.loaded = [], None

    def on_epoch_begin(self, epoch, logs=None):
        del logs
        self.loss.epoch.assign(epoch)
        self.loaded = self.loaded or begun(self.ted.pruner)
        self.rows.append(row(self.ted.pruner.plan()))
        if self.stop is not None and self.stop == (epoch, 0):
            raise Stopped

    def on_train_batch_end(self, batch, logs=None):
        del logs
        if self.stop is None or self.ted.pruner.epoch != self.stop[0]:
            return
        last = batch + 1 == int(self.ted.data.length)
        if batch + 1 == self.stop[1] or last:
            raise Stopped


def begin(kind, stop=None, **options):
    """Give a fresh session of a kind, its model and what follows its run."""
    keras.utils.set_random_seed(1)
    model, loss = keras.Sequential([keras.Input((1,)), keras.layers.Dense(1)]), Values()
    model.compile(keras.optimizers.SGD(0.1), loss)
    data = np.zeros((N, 1), "float32"), np.arange(N)
    options = {"epochs": EPOCHS, "batch_size": BATCH, "multiple_of": 1, **options}
    ted = TED(model, data, **options, **kind.options)
    return ted, model, Follow(ted, loss, stop)


def fit(ted, model, follow):
    """Train to the end, or to where the run is to stop."""
    call = {"epochs": EPOCHS, "initial_epoch": ted.epoch, "verbose": 0}
    try:
        with ted:
            model.fit(ted.data, callbacks=[ted, follow], **call)
    except Stopped:
        return
    assert follow.stop is None


def path(name):
    """Give the file of a kind's state."""
    return FOLDER / f"{name}.npz"


def written(name, kind, folder):
    """Write the state of a run that stops; give what it does if it never stops."""
    stop = None if kind.epoch == EPOCHS else (kind.epoch, kind.seen)
    ted, model, follow = begin(kind, stop, backup=folder / "ted.npz")
    fit(ted, model, follow)
    if name.endswith("backup"):
        shutil.copy(folder / "ted.npz", path(name))
        shutil.copy(folder / "ted.npz.before", path(f"{name}_before"))
    elif not name.endswith("before"):
        ted.save(path(name))
    start = ted.epoch
    ted, model, follow = begin(kind)
    fit(ted, model, follow)
    rows = follow.rows[start:]
    return {"loaded": None, "epochs": rows, "ended": ended(ted.pruner)}


def resumed(name, kind, folder):
    """Give what a run does that goes on from its file."""
    if "backup" not in name:
        ted, model, follow = begin(kind)
        state = load_state(path(name))
        model.optimizer.iterations.assign(state.get(STEPS, 0))
        ted.load_state_dict(state)
        loaded = begun(ted.pruner)
        if not ted.pruner.finished:
            fit(ted, model, follow)
    else:
        shutil.copy(path("keras/backup"), folder / "ted.npz")
        shutil.copy(path("keras/backup_before"), folder / "ted.npz.before")
        ted, model, follow = begin(kind, backup=folder / "ted.npz")
        model.optimizer.build(model.trainable_variables)
        model.optimizer.iterations.assign(load_state(path(name))[STEPS])
        call = {"epochs": EPOCHS, "initial_epoch": kind.epoch, "verbose": 0}
        model.fit(ted.data, callbacks=[ted, follow], **call)
        loaded = follow.loaded
    return {"loaded": loaded, "epochs": follow.rows, "ended": ended(ted.pruner)}


STEPS = "ted_keras.iterations"
