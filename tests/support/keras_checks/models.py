"""Models are given back as they were, and other calls do not notice TED."""

from __future__ import annotations

import tempfile

import keras
import numpy as np
from keras_checks.common import (
    EPOCHS,
    KillAfter,
    KilledError,
    Subclassed,
    compiled,
    fit,
    network,
    number,
    samples,
    session,
    trace_of,
    weights,
)

from ted_core import EpochError


def equal(one, other):
    for first, second in zip(weights(one), weights(other), strict=True):
        np.testing.assert_array_equal(first, second)


def the_whole_data_at_scale_one_train_as_without_ted():
    x, y = samples()
    model = compiled(network())
    ted = session(model, prune_ratio=0.0)
    orders = []

    class Note(keras.callbacks.Callback):
        def on_epoch_begin(self, epoch, logs=None):
            orders.append(ted.pruner.plan().order)

    fit(ted, model, Note())
    plain = compiled(network())
    for order in orders:
        plain.fit(x[order], y[order], batch_size=8, shuffle=False, verbose=0)
    # The product with a weight of 1 lets a compiler round in another way.
    for first, second in zip(weights(model), weights(plain), strict=True):
        np.testing.assert_allclose(first, second, rtol=1e-5, atol=1e-6)


def a_second_fit_and_a_plain_fit_afterwards_are_right():
    x, y = samples()
    model = compiled(network())
    ted = session(model)
    before = trace_of(model)
    fit(ted, model)
    assert trace_of(model) == before
    again = session(model, seed=3)
    fit(again, model)
    assert again.pruner.finished
    assert int(model.optimizer.iterations) == ted.total_steps + again.total_steps
    other = compiled(network())
    other.set_weights(model.get_weights())
    options = {"batch_size": 8, "shuffle": False, "verbose": 0, "epochs": 2}
    w = np.linspace(0, 2, len(x)).astype("float32")
    model.fit(x, y, sample_weight=w, **options)
    other.fit(x, y, sample_weight=w, **options)
    equal(model, other)


def a_plain_fit_before_does_not_keep_its_step():
    x, y = samples()
    model = compiled(network())
    model.fit(x, y, verbose=0)
    steps = int(model.optimizer.iterations)
    ted = session(model)
    fit(ted, model)
    assert int(model.optimizer.iterations) == steps + ted.total_steps
    assert np.isfinite(ted.pruner.scores).all()


def a_model_built_and_compiled_after_ted():
    keras.utils.set_random_seed(1)
    model = Subclassed()
    ted = session(model)
    rate = keras.optimizers.schedules.CosineDecay(0.1, ted.total_steps)
    model.compile(keras.optimizers.SGD(rate), "mse")
    x, y = samples()
    ted = session(model, (x, np.eye(3, dtype="float32")[y]))
    fit(ted, model)
    assert abs(float(number(model.optimizer.learning_rate))) < 1e-7


def validation_evaluation_and_prediction_do_not_notice():
    x, y = samples()
    seen = []

    class Evaluate(keras.callbacks.Callback):
        def on_epoch_end(self, epoch, logs=None):
            seen.append(dict(logs))

    model = compiled(network(), 0.0, metrics=["accuracy"])
    want = model.evaluate(x, y, verbose=0, return_dict=True)
    guess = model.predict(x, verbose=0)
    fit(session(model), model, Evaluate(), validation_data=(x, y))
    for logs in seen:
        assert abs(logs["val_loss"] - want["loss"]) < 1e-5
        assert abs(logs["val_accuracy"] - want["accuracy"]) < 1e-6
    assert model.evaluate(x, y, verbose=0, return_dict=True) == want
    np.testing.assert_array_equal(model.predict(x, verbose=0), guess)


def models_are_saved_cloned_and_loaded_without_a_trace():
    x, _ = samples()
    with tempfile.TemporaryDirectory() as folder:

        class Save(keras.callbacks.Callback):
            def on_epoch_end(self, epoch, logs=None):
                self.model.save(f"{folder}/{epoch}.keras")
                clones.append(keras.models.clone_model(self.model))

        clones = []
        model = compiled(network(mask=True))
        fit(session(model), model, Save())
        clones.append(keras.models.clone_model(model))
        model.save(f"{folder}/end.keras")
        for name in ("2", "end"):
            loaded = keras.saving.load_model(f"{folder}/{name}.keras")
            assert not trace_of(loaded)
            assert loaded.get_layer("site").get_config().keys() <= {
                "name",
                "trainable",
                "dtype",
            }
        np.testing.assert_allclose(
            number(loaded(x)), number(model(x)), rtol=1e-6, atol=1e-7
        )
    assert not any(trace_of(clone) for clone in clones)


def a_failure_gives_the_model_back():
    model = compiled(network())
    ted = session(model)
    try:
        with ted:
            fit(ted, model, KillAfter(1))
    except KilledError:
        pass
    assert not trace_of(model)
    fit(ted, model, initial_epoch=2)
    assert int(model.optimizer.iterations) == ted.total_steps


def a_forgotten_callback_is_an_error():
    model = compiled(network(), metrics=["accuracy"])
    ted = session(model)
    for call in (
        lambda: model.fit(ted.data, epochs=EPOCHS, verbose=0),
        lambda: model.evaluate(ted.data, verbose=0),
    ):
        try:
            call()
        except EpochError as error:
            assert "callbacks=[ted]" in str(error)  # noqa: PT017 - no pytest here
        else:
            raise AssertionError
        assert not trace_of(model)
        assert int(model.optimizer.iterations) == 0
    fit(ted, model)
    assert int(model.optimizer.iterations) == ted.total_steps


def the_progress_bar_knows_each_epochs_length():
    model = compiled(network())
    ted = session(model)
    lengths = []

    class Target(keras.callbacks.Callback):
        def on_epoch_begin(self, epoch, logs=None):
            lengths.append(int(self.params["steps"]))

    fit(ted, model, Target())
    kept = ted.pruner.schedule_table()["kept"]
    assert lengths == [-(-int(k) // 8) for k in kept]


CHECKS = (
    the_whole_data_at_scale_one_train_as_without_ted,
    a_second_fit_and_a_plain_fit_afterwards_are_right,
    a_plain_fit_before_does_not_keep_its_step,
    a_model_built_and_compiled_after_ted,
    validation_evaluation_and_prediction_do_not_notice,
    models_are_saved_cloned_and_loaded_without_a_trace,
    a_failure_gives_the_model_back,
    a_forgotten_callback_is_an_error,
    the_progress_bar_knows_each_epochs_length,
)
