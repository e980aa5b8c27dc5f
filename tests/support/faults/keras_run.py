"""A Keras run that saves as the docs say: whole folders, or Keras' own backup."""

from __future__ import annotations

import hashlib
import shutil

import keras
import numpy as np
from ted_keras import TED

from ted_core import TopScore, load_state

__all__ = ["backed_up", "run"]

N, EPOCHS, BATCH = 400, 6, 20


def begin(model=None, kind=TED, **options):
    """Give a model, new or read from a file, and its session; no operation before."""
    keras.utils.set_random_seed(1)
    x = np.random.default_rng(0).normal(size=(N, 5)).astype("float32")
    y = (x[:, 0] > 0).astype("int64") + (x[:, 1] > 0.3)
    if model is None:
        layers = [
            keras.Input((5,)),
            keras.layers.Dense(16, activation="relu"),
            keras.layers.Dropout(0.2),
            keras.layers.Dense(3),
        ]
        model = keras.Sequential(layers)
        loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
        model.compile(keras.optimizers.Adam(0.01), loss)
        model.optimizer.build(model.trainable_variables)
    else:
        model = keras.saving.load_model(model)
    ted = kind(
        model,
        (x, y),
        epochs=EPOCHS,
        batch_size=BATCH,
        prune_ratio=0.6,
        seed=4,
        signal="mask_gradient",
        strategy=TopScore(),
        **options,
    )
    return model, ted


class Step(keras.callbacks.Callback):
    """Tell the watch of each step."""

    def __init__(self, watch):
        super().__init__()
        self.watch = watch

    def on_train_batch_begin(self, batch, logs=None):
        del batch, logs
        self.watch.step()


class Keep(keras.callbacks.Callback):
    """Keep model and session in one folder, which appears whole or not at all."""

    def __init__(self, ted, folder, watch):
        super().__init__()
        self.ted, self.folder, self.watch = ted, folder, watch

    def on_epoch_end(self, epoch, logs=None):
        del logs
        with self.watch.saving():
            new = self.folder / "new"
            new.mkdir(exist_ok=True)
            self.model.save(new / "model.keras")
            self.ted.save(new / "ted.npz")
            new.replace(self.folder / f"epoch-{epoch + 1:03d}")
            for older in sorted(self.folder.glob("epoch-*"))[:-1]:
                shutil.rmtree(older)


def run(folder, watch, _rank=0):
    """Train from the newest folder, if there is one."""
    saved = sorted(folder.glob("epoch-*"))
    model, ted = begin(saved[-1] / "model.keras" if saved else None)
    if saved:
        ted.load_state_dict(load_state(saved[-1] / "ted.npz"))
    callbacks = [ted, Keep(ted, folder, watch), Step(watch)]
    model.fit(
        ted.data,
        epochs=EPOCHS,
        initial_epoch=ted.epoch,
        callbacks=callbacks,
        verbose=0,
    )
    return end(model, ted)


class WatchedBackup(keras.callbacks.BackupAndRestore):
    """Keras' own backup, its writing watched over."""

    def __init__(self, folder, watch):
        super().__init__(folder)
        self.watch = watch

    def on_epoch_end(self, epoch, logs=None):
        with self.watch.saving():
            super().on_epoch_end(epoch, logs)


class WatchedTED(TED):
    """The session, its writing watched over."""

    watch = None

    def on_epoch_end(self, epoch, logs=None):
        with self.watch.saving():
            super().on_epoch_end(epoch, logs)


def end(model, ted):
    """Give what must be alike, bit for bit."""
    pruner = ted.pruner
    history = repr(pruner.report()) + repr(pruner.savings())
    state = {
        name: value.tobytes() if isinstance(value, np.ndarray) else repr(value).encode()
        for name, value in ted.state_dict().items()
    }
    return {
        "scores": digest([pruner.scores.tobytes()]),
        "visits": digest([pruner.update_counts.tobytes()]),
        "history": digest([history.encode()]),
        "session": digest([k.encode() + v for k, v in state.items()]),
        "weights": digest([np.asarray(w).tobytes() for w in model.get_weights()]),
        "optimizer": digest(
            [np.asarray(v).tobytes() for v in model.optimizer.variables]
        ),
        "steps": int(model.optimizer.iterations),
    }


def digest(parts):
    return hashlib.sha256(b"".join(parts)).hexdigest()


def backed_up(folder, watch, _rank=0):
    """Train with ``backup=`` beside ``BackupAndRestore``."""
    model, ted = begin(kind=WatchedTED, backup=folder / "ted.npz")
    ted.watch = watch
    model.fit(
        ted.data,
        epochs=EPOCHS,
        callbacks=[ted, WatchedBackup(folder / "keras", watch), Step(watch)],
        verbose=0,
    )
    return end(model, ted)
