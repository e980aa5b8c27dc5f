"""Keras' own logs show what a run keeps and saves."""

from __future__ import annotations

import contextlib
import csv
import io
import tempfile
from pathlib import Path

import keras
from keras_checks.common import (
    EPOCHS,
    N,
    compiled,
    fit,
    fit_a_part,
    network,
    session,
)

NAMES = ("ted/keep_ratio", "ted/samples_saved", "ted/nonfinite_dropped")


def wanted(ted):
    """Give the numbers of each epoch, from the schedule alone; nothing is dropped."""
    kept = ted.pruner.schedule_table()["kept"].tolist()
    seen = [sum(kept[: epoch + 1]) / ((epoch + 1) * N) for epoch in range(len(kept))]
    return [k / N for k in kept], [1 - share for share in seen], [0] * len(kept)


def close(ours, theirs):
    assert len(ours) == len(theirs)
    assert max(abs(a - b) for a, b in zip(ours, theirs, strict=True)) < 1e-6


def the_history_has_the_numbers_of_every_epoch():
    model = compiled(network(), metrics=["accuracy"])
    ted = session(model)
    history = fit(ted, model).history
    assert set(history) == {"loss", "accuracy", *NAMES}
    for name, values in zip(NAMES, wanted(ted), strict=True):
        close(history[name], values)
    assert history[NAMES[1]][-1] == ted.savings().ratio
    close(history[NAMES[0]], (ted.report().planned / N).tolist())


def a_logger_writes_them_and_the_progress_bar_shows_them():
    model = compiled(network())
    ted = session(model)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "log.csv"
        shown = io.StringIO()
        with contextlib.redirect_stdout(shown):
            fit(ted, model, keras.callbacks.CSVLogger(str(path)), verbose=2)
        rows = list(csv.DictReader(path.read_text().splitlines()))
    for name, values in zip(NAMES, wanted(ted), strict=True):
        close([float(row[name]) for row in rows], values)
        for value in values:
            assert f"{name}: {value:.4f}" in shown.getvalue()


def a_callback_may_watch_them():
    class Watch(keras.callbacks.Callback):
        def on_epoch_end(self, epoch, logs=None):
            self.model.stop_training = logs["ted/samples_saved"] > 0

    model = compiled(network())
    ted = session(model)
    history = fit_a_part(ted, model, Watch()).history
    assert len(history["loss"]) == len(history[NAMES[1]]) == 2
    assert history[NAMES[1]][0] == 0 < history[NAMES[1]][1]


def an_epoch_stopped_in_its_middle_logs_what_was_saved_before():
    class Stop(keras.callbacks.Callback):
        def on_train_batch_end(self, batch, logs=None):
            self.model.stop_training = ted.pruner.epoch == 2

    model = compiled(network())
    ted = session(model)
    history = fit_a_part(ted, model, Stop()).history
    assert ted.pruner.epoch == 2 < EPOCHS
    keep, saved, _ = wanted(ted)
    close(history[NAMES[0]], keep[:3])
    close(history[NAMES[1]], [*saved[:2], saved[1]])


def the_repr_tells_how_far_the_run_is():
    class Say(keras.callbacks.Callback):
        def on_train_batch_end(self, batch, logs=None):
            said.append(repr(ted))

    model, said = compiled(network()), []
    ted = session(model)
    begin = f"TED(epoch=0 of {EPOCHS}, keeps {N} of {N} samples, method="
    assert repr(ted).startswith(begin)
    fit(ted, model, Say())
    assert said[0].startswith(begin)
    assert said[-1].startswith(f"TED(epoch={EPOCHS - 1} of {EPOCHS}, keeps ")
    assert repr(ted).startswith(f"TED(epoch={EPOCHS} of {EPOCHS}, finished, {N} ")


CHECKS = (
    the_repr_tells_how_far_the_run_is,
    the_history_has_the_numbers_of_every_epoch,
    a_logger_writes_them_and_the_progress_bar_shows_them,
    a_callback_may_watch_them,
    an_epoch_stopped_in_its_middle_logs_what_was_saved_before,
)
