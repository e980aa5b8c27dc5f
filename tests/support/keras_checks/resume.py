"""Killed and resumed equals never stopped, on every backend."""

from __future__ import annotations

import tempfile
from pathlib import Path

import keras
import numpy as np
import pytest
from keras_checks.common import (
    EPOCHS,
    KillAfter,
    KilledError,
    N,
    Seen,
    fit,
    network,
    samples,
    session,
    weights,
)
from keras_checks.weighing import OwnStep, mixed
from ted_keras import Pipeline

from ted_core import CheckpointError, EpochError, load_state

PRUNED = 3


def fresh():
    model = network()
    model.compile(keras.optimizers.AdamW(0.01, weight_decay=0.1), "mse")
    model.optimizer.build(model.trainable_variables)
    return model


def data():
    x, y = samples()
    return x, np.eye(3, dtype="float32")[y]


def straight(given=None, *callbacks, make=fresh, **options):
    model = make()
    ted = session(model, data() if given is None else given, **options)
    seen = Seen(ted)
    fit(ted, model, seen, *[made(ted) for made in callbacks])
    return model, ted, seen


def same(one, other):
    for first, second in zip(weights(one[0]), weights(other[0]), strict=True):
        np.testing.assert_array_equal(first, second)
    a, b = one[1].state_dict(), other[1].state_dict()
    assert a.keys() == b.keys()
    for name, value in a.items():
        np.testing.assert_array_equal(value, b[name], err_msg=name)
    assert int(other[0].optimizer.iterations) == other[1].total_steps


def killed(model, ted, *callbacks):
    try:
        with ted:
            fit(ted, model, *callbacks)
    except KilledError:
        return
    raise AssertionError


def backup_and_restore_beside_a_backup():
    never = straight()
    with tempfile.TemporaryDirectory() as folder:

        def begin():
            model = fresh()
            ted = session(model, data(), backup=f"{folder}/ted/state.npz")
            return model, ted, keras.callbacks.BackupAndRestore(f"{folder}/keras")

        model, ted, backup = begin()
        killed(model, ted, backup, KillAfter(PRUNED))
        model, ted, backup = begin()
        seen = Seen(ted)
        fit(ted, model, backup, seen)
        # The epochs after a resume at a pruned one are as long as they ever were.
        assert seen.steps == never[2].steps[PRUNED + 1 :]
        assert seen.kept == never[2].kept[PRUNED + 1 :]
        assert max(seen.steps) > seen.steps[0]
        same(never, (model, ted))
        assert not list(Path(folder).rglob("*.npz*"))


def random_layers_go_on():
    def make(seed=1):
        inner = fresh().layers
        keras.utils.set_random_seed(seed)
        layers = [keras.layers.GaussianNoise(0.1), keras.layers.Dropout(0.3)]
        model = keras.Sequential([keras.Input((4,)), *layers, *inner])
        model.compile(keras.optimizers.AdamW(0.01, weight_decay=0.1), "mse")
        model.optimizer.build(model.trainable_variables)
        return model

    never = straight(make=make)
    with tempfile.TemporaryDirectory() as folder:

        def begin(seed):
            model = make(seed)
            ted = session(model, data(), backup=f"{folder}/ted.npz")
            return model, ted, keras.callbacks.BackupAndRestore(f"{folder}/keras")

        killed(*begin(1), KillAfter(PRUNED))
        model, ted, backup = begin(2)  # other numbers, as in a new process
        fit(ted, model, backup)
        same(never, (model, ted))


def a_kill_between_the_two_savings():
    class Slow(keras.callbacks.BackupAndRestore):
        def on_epoch_end(self, epoch, logs=None):
            if epoch == PRUNED:
                raise KilledError  # TED has saved, Keras has not
            super().on_epoch_end(epoch, logs)

    never = straight()
    with tempfile.TemporaryDirectory() as folder:
        model = fresh()
        ted = session(model, data(), backup=f"{folder}/ted.npz")
        killed(model, ted, Slow(f"{folder}/keras"))
        model = fresh()
        ted = session(model, data(), backup=f"{folder}/ted.npz")
        fit(ted, model, keras.callbacks.BackupAndRestore(f"{folder}/keras"))
        same(never, (model, ted))


def kept_by_keras(folder):
    """Return a new model and session beside what was backed up in a folder."""
    model = fresh()
    ted = session(model, data(), backup=f"{folder}/ted.npz")
    return model, ted, keras.callbacks.BackupAndRestore(f"{folder}/keras")


def two_kills_between_the_two_savings():
    class NotSaved(keras.callbacks.Callback):
        def on_epoch_end(self, epoch, logs=None):
            if epoch == PRUNED:
                raise KilledError  # TED has saved, Keras has not

    never = straight()
    with tempfile.TemporaryDirectory() as folder:
        for _ in range(3):
            model, ted, backup = kept_by_keras(folder)
            killed(model, ted, NotSaved(), backup)
        model, ted, backup = kept_by_keras(folder)
        fit(ted, model, backup)
        same(never, (model, ted))


def a_kill_after_the_last_epoch():
    never = straight()
    with tempfile.TemporaryDirectory() as folder:
        model, ted, backup = kept_by_keras(folder)
        killed(model, ted, backup, KillAfter(EPOCHS - 1))
        model, ted, backup = kept_by_keras(folder)
        fit(ted, model, backup)
        same(never, (model, ted))
        assert not list(Path(folder).rglob("*.npz*"))


def weights_of_another_epoch_than_keras_says():
    with tempfile.TemporaryDirectory() as folder:

        class Torn(keras.callbacks.Callback):
            def on_epoch_end(self, epoch, logs=None):
                if epoch == PRUNED:  # Keras has written its weights alone
                    self.model.save_weights(f"{folder}/keras/latest.weights.h5")
                    raise KilledError

        model, ted, backup = kept_by_keras(folder)
        killed(model, ted, Torn(), backup)
        model, ted, backup = kept_by_keras(folder)
        try:
            with ted:
                fit(ted, model, backup)
        except CheckpointError as error:
            assert "`optimizer.iterations` must be" in str(error)  # noqa: PT017
            return
        raise AssertionError


def checkpoints_of_the_model_and_a_saved_state():
    never = straight()
    with tempfile.TemporaryDirectory() as folder:

        class Save(keras.callbacks.Callback):
            def on_epoch_end(self, epoch, logs=None):
                ted.save(f"{folder}/ted.npz")

        model = fresh()
        ted = session(model, data())
        whole = keras.callbacks.ModelCheckpoint(f"{folder}/model.keras")
        killed(model, ted, whole, Save(), KillAfter(PRUNED))
        model = keras.saving.load_model(f"{folder}/model.keras")
        ted = session(model, data())
        ted.load_state_dict(load_state(f"{folder}/ted.npz"))
        assert ted.epoch == PRUNED + 1
        fit(ted, model, initial_epoch=ted.epoch)
        same(never, (model, ted))


def a_state_of_an_open_epoch():
    resumed_after(lambda batch, steps: batch == 1)


def a_state_of_an_epoch_met_to_its_end():
    resumed_after(lambda batch, steps: batch == steps - 1)


def a_pipeline_of_an_open_epoch():
    import tensorflow as tf  # noqa: PLC0415 - other backends need it for this alone

    x, y = (tf.constant(part) for part in data())
    pipeline = Pipeline(lambda k: (x[k], y[k]))
    resumed_after(lambda batch, steps: batch == 1, pipeline, n=N)


def fresh_with_a_step_of_its_own():
    keras.utils.set_random_seed(1)
    model = OwnStep()
    model(samples()[0])
    model.compile(keras.optimizers.AdamW(0.01, weight_decay=0.1), "mse")
    model.optimizer.build(model.trainable_variables)
    return model


def a_step_of_the_models_own_in_an_open_epoch():
    resumed_after(lambda batch, steps: batch == 1, make=fresh_with_a_step_of_its_own)


class Saving(keras.callbacks.Callback):
    """Take a state after every step."""

    def __init__(self, ted):
        super().__init__()
        self.ted = ted

    def on_train_batch_end(self, batch, logs=None):
        self.ted.state_dict()


def mixed_batches_of_an_open_epoch():
    never = straight(mixed, n=N)
    same(never, straight(mixed, Saving, n=N))
    resumed_after(lambda batch, steps: batch == 1, mixed, never=never, n=N)
    resumed_after(lambda batch, steps: batch == steps - 1, mixed, never=never, n=N)


def resumed_after(is_last, given=None, *, never=None, make=fresh, **options):
    """Break off a fit on arrays or on what is given, and go on.

    It is held against one on arrays that never stops, or against `never`.
    """
    never = straight(make=make) if never is None else never
    given = data() if given is None else given
    states = []

    class Save(keras.callbacks.Callback):
        def on_train_batch_end(self, batch, logs=None):
            steps = never[2].steps[PRUNED]
            if ted.pruner.epoch == PRUNED and is_last(batch, steps):
                states.append((self.model.get_weights(), ted.state_dict()))
                states.append([np.array(v) for v in self.model.optimizer.variables])
                raise KilledError

    model = make()
    ted = session(model, given, **options)
    killed(model, ted, Save())
    again = make()
    again.set_weights(states[0][0])
    for variable, value in zip(again.optimizer.variables, states[1], strict=True):
        variable.assign(value)
    other = session(again, given, **options)
    other.load_state_dict(states[0][1])
    fit(other, again, initial_epoch=other.epoch)
    same(never, (again, other))


def a_finished_run_has_nothing_to_train():
    _, ted, _ = straight()
    for model in (fresh(), keras.Sequential([keras.layers.Dense(3)])):
        model.compile("sgd", "mse")  # the second is not built
        again = session(model, data())
        again.load_state_dict(ted.state_dict())
        assert fit(again, model, initial_epoch=again.epoch).epoch == []
        assert model.optimizer.iterations == 0
        for name, value in ted.pruner.state_dict().items():
            np.testing.assert_array_equal(again.pruner.state_dict()[name], value)
        with pytest.raises(EpochError, match="where the run has finished"), again:
            fit(again, model, initial_epoch=EPOCHS - 1)


CHECKS = (
    backup_and_restore_beside_a_backup,
    random_layers_go_on,
    a_kill_between_the_two_savings,
    two_kills_between_the_two_savings,
    a_kill_after_the_last_epoch,
    weights_of_another_epoch_than_keras_says,
    checkpoints_of_the_model_and_a_saved_state,
    a_state_of_an_open_epoch,
    a_state_of_an_epoch_met_to_its_end,
    a_pipeline_of_an_open_epoch,
    a_step_of_the_models_own_in_an_open_epoch,
    mixed_batches_of_an_open_epoch,
    a_finished_run_has_nothing_to_train,
)
