"""Every epoch is as long as planned, on every backend."""

from __future__ import annotations

import keras
import numpy as np
from keras_checks.common import (
    BATCH,
    EPOCHS,
    KilledError,
    Seen,
    compiled,
    fit,
    fit_a_part,
    network,
    number,
    reads_the_plan,
    samples,
    session,
)

from ted_core import EpochError


class Times(keras.callbacks.Callback):
    """Count in each epoch how often the steps met each sample."""

    def __init__(self, ted):
        super().__init__()
        self.ted, self.epochs = ted, []

    def on_epoch_end(self, epoch, logs=None):
        self.ted.state_dict()
        self.epochs.append(self.ted._session.seen.copy())


def run(model, *callbacks, fit_options=None, **options):
    """Train a whole run; return the session and what each epoch did."""
    ted = session(model, **options)
    seen, times = Seen(ted), Times(ted)
    model.fit(
        ted.data,
        epochs=EPOCHS,
        callbacks=[times, ted, seen, *callbacks],
        verbose=0,
        **(fit_options or {}),
    )
    for kept, found in zip(seen.kept, times.epochs, strict=True):
        assert np.flatnonzero(found).tolist() == kept
        assert found.max() == 1
    return ted, seen


def planned(ted):
    table = ted.pruner.schedule_table()
    return [-(-int(kept) // ted.data.batch_size) for kept in table["kept"]]


def every_epoch_is_as_long_as_planned():
    model = compiled(network())
    ted, seen = run(model)
    assert seen.steps == planned(ted)
    assert len(set(seen.steps)) > 2
    assert sum(seen.steps) == ted.total_steps == int(model.optimizer.iterations)
    assert ted.pruner.finished
    assert ted.savings().forwarded == ted.pruner.schedule_table()["kept"].sum()


def threads_that_read_ahead_repeat_and_lose_no_sample():
    # The model is not built: Keras looks at a batch before it trains.
    model = compiled(network(), metrics=["accuracy"])
    ted, seen = run(model, workers=3)
    assert seen.steps == planned(ted)
    assert int(model.optimizer.iterations) == ted.total_steps


def processes_that_read_ahead_repeat_and_lose_no_sample():
    model = compiled(network(), metrics=["accuracy"])
    ted, seen = run(model, workers=2, use_multiprocessing=True)
    assert seen.steps == planned(ted)


def the_plan_is_read_in_its_order_and_the_rate_ends_with_it():
    reads_the_plan(network())


def a_started_epoch_begins_again_without_harm():
    class Twice(keras.callbacks.Callback):
        def on_epoch_begin(self, epoch, logs=None):
            ted.on_epoch_begin(epoch)

    model = compiled(network())
    ted = session(model)
    fit(ted, model, Twice())
    assert int(model.optimizer.iterations) == ted.total_steps


def a_run_broken_off_in_mid_epoch_goes_on_with_the_rest():
    class Break(keras.callbacks.Callback):
        def on_train_batch_end(self, batch, logs=None):
            if int(ted.pruner.epoch) == 2 and batch >= 1:
                raise KilledError

    model = compiled(network())
    ted = session(model)
    try:
        with ted:
            fit(ted, model, Break())
    except KilledError:
        pass
    assert ted.epoch == 2
    order = ted.pruner.plan().order
    assert ted._session.accounts.missing == order.size - 2 * BATCH
    fit(ted, model, initial_epoch=ted.epoch)
    assert int(model.optimizer.iterations) == ted.total_steps


def training_stopped_early_leaves_the_run_open():
    class Stop(keras.callbacks.Callback):
        def on_epoch_end(self, epoch, logs=None):
            self.model.stop_training = epoch == 2

    model = compiled(network())
    ted = session(model)
    fit_a_part(ted, model, Stop())
    assert ted.epoch == 3
    assert not ted.pruner.finished
    assert "compute_loss" not in model.__dict__
    fit(ted, model, initial_epoch=3)
    assert int(model.optimizer.iterations) == ted.total_steps


def the_loss_alone_is_divided_by_the_keep_ratio():
    x, y = samples()

    def history(**options):
        keras.utils.set_random_seed(1)
        penalty = keras.regularizers.L2(0.1)
        layer = keras.layers.Dense(3, kernel_regularizer=penalty)
        model = keras.Sequential([keras.Input((4,)), layer])
        compiled(model, 0.0, metrics=["accuracy", "sparse_categorical_crossentropy"])
        ted = session(model, (x, y), **options)
        return ted, fit(ted, model).history, model

    ted, scaled, model = history()
    _, plain, _ = history(scale_loss=False)
    penalty = float(number(model.losses[0]))
    for epoch, row in enumerate(ted.pruner.schedule_table()):
        data_loss = plain["loss"][epoch] - penalty
        want = data_loss * row["loss_scale"] + penalty
        np.testing.assert_allclose(scaled["loss"][epoch], want, rtol=1e-4)
    for name in ("accuracy", "sparse_categorical_crossentropy"):
        np.testing.assert_allclose(scaled[name], plain[name], rtol=1e-6)
    # At full data and scale 1, the last epoch is an evaluation.
    assert (
        abs(scaled["accuracy"][-1] - np.mean(np.argmax(number(model(x)), 1) == y))
        < 1e-6
    )


def another_length_of_epochs_is_refused():
    model = compiled(network())
    ted = session(model)
    for options, word in (
        ({"epochs": EPOCHS - 1}, "`epochs` of `fit`"),
        ({"steps_per_epoch": 2}, "without `steps_per_epoch`"),
        ({"initial_epoch": 2}, "`epoch` must be 0"),
    ):
        try:
            with ted:
                fit(ted, model, **options)
        except EpochError as error:
            assert word in str(error), error  # noqa: PT017 - no pytest in here
        else:
            raise AssertionError(options)


CHECKS = (
    every_epoch_is_as_long_as_planned,
    threads_that_read_ahead_repeat_and_lose_no_sample,
    processes_that_read_ahead_repeat_and_lose_no_sample,
    the_plan_is_read_in_its_order_and_the_rate_ends_with_it,
    a_started_epoch_begins_again_without_harm,
    a_run_broken_off_in_mid_epoch_goes_on_with_the_rest,
    training_stopped_early_leaves_the_run_open,
    the_loss_alone_is_divided_by_the_keep_ratio,
    another_length_of_epochs_is_refused,
)
