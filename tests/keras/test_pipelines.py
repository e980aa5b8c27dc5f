"""Pipelines of ``tf.data`` as data: from ids to batches, in the planned order."""

from __future__ import annotations

import keras
import numpy as np
import pytest
import tensorflow as tf
from keras_checks.common import (
    BATCH,
    EPOCHS,
    KillAfter,
    KilledError,
    N,
    compiled,
    fit,
    network,
    samples,
    session,
)
from keras_checks.weighing import PARTNERS, SHARES, mixed
from ted_keras import Pipeline

import ted_core

X, Y = samples()
WEIGHTS = np.linspace(0, 2, N, dtype="float32")


def load(k):
    return tf.gather(X, k), tf.gather(Y, k)


def load_weighted(k):
    return *load(k), tf.gather(WEIGHTS, k)


def run(data, **options):
    model = compiled(network())
    ted = session(model, data, **options)
    fit(ted, model)
    assert int(model.optimizer.iterations) == ted.total_steps
    return ted.state_dict(), model.get_weights()


@pytest.mark.parametrize(
    ("data", "arrays"),
    [
        (Pipeline(load), (X, Y)),
        (Pipeline(load_weighted, num_parallel_calls=2), (X, Y, WEIGHTS)),
        (Pipeline(load_weighted, batched=True), (X, Y, WEIGHTS)),
    ],
)
def test_a_pipeline_gives_the_run_of_the_arrays_bit_for_bit(data, arrays):
    found = run(data, n=N, class_weight={1: 0.5})
    want = run(arrays, class_weight={1: 0.5})
    for part, expected in zip(found[1], want[1], strict=True):
        np.testing.assert_array_equal(part, expected)
    for name, value in want[0].items():
        np.testing.assert_array_equal(found[0][name], value, err_msg=name)


def load_mixed(k):
    """Mix a sample, or each of a batch, with another."""
    other, share = tf.gather(PARTNERS, k), tf.gather(SHARES, k)
    mine = share[..., None]
    x, y = (
        mine * tf.gather(part, k) + (1 - mine) * tf.gather(part, other)
        for part in (X, np.eye(3, dtype="float32")[Y])
    )
    return x, y, None, [(k, share), (other, 1 - share)]


def test_a_pipeline_mixes_as_a_function_does():
    found = []
    for data in (mixed, Pipeline(load_mixed), Pipeline(load_mixed, batched=True)):
        loss = keras.losses.CategoricalCrossentropy(from_logits=True)
        model = compiled(network(), loss=loss)
        ted = session(model, data, n=N)
        fit(ted, model)
        found.append(ted.pruner.scores)
    for scores in found[1:]:
        np.testing.assert_allclose(scores, found[0], rtol=1e-4, atol=1e-6)


def test_nested_parts_keep_their_names():
    def nested(k):
        x, y = load(k)
        return {"left": x[:2], "right": (x[2:], x)}, {"kind": y}

    data = session(compiled(network()), Pipeline(nested), n=N).data
    x, y, _ = data[0]
    assert x["left"].shape == (BATCH, 2)
    np.testing.assert_array_equal(x["right"][1][:, :2], x["left"])
    assert list(y) == ["kind"]


def test_load_is_traced_once_and_reads_the_plan_at_a_rate_that_ends_with_it():
    traced, read, planned = [], [], []

    def note(k):
        read.append(int(k))
        return k

    def noting(k):
        traced.append(k)
        kept = tf.ensure_shape(tf.numpy_function(note, [k], tf.int64), ())
        return load(kept)

    class Epochs(keras.callbacks.Callback):
        def on_epoch_begin(self, epoch, logs=None):
            read.clear()
            planned.append(ted.pruner.plan().kept.tolist())

        def on_epoch_end(self, epoch, logs=None):
            assert sorted(read) == sorted(planned[-1])

    model = network()
    ted = session(model, Pipeline(noting), n=N)
    decay = keras.optimizers.schedules.CosineDecay(0.1, ted.total_steps)
    fit(ted, compiled(model, decay), Epochs())
    assert int(model.optimizer.iterations) == ted.total_steps
    assert abs(float(model.optimizer.learning_rate)) < 1e-7
    assert len(traced) == 1
    assert len(planned) == EPOCHS
    assert min(map(len, planned)) < N / 2


def test_a_batch_that_is_asked_for_again_is_the_same_batch():
    found = []

    class Look(keras.callbacks.Callback):
        def on_epoch_end(self, epoch, logs=None):
            order = ted.pruner.plan().order
            for index in (1, 0, 1):
                want = order[index * BATCH :][:BATCH]
                np.testing.assert_array_equal(ted.data[index][0], X[want])
            found.append(epoch)

    model = compiled(network())
    ted = session(model, Pipeline(load), n=N)
    options = {"epochs": EPOCHS, "verbose": 0, "shuffle": False}
    model.fit(ted.data, callbacks=[Look(), ted], **options)
    assert found == list(range(EPOCHS))


def test_a_killed_run_with_augmentation_by_epoch_ends_as_one_never_stopped(tmp_path):
    epoch = tf.Variable(0, dtype="int64")

    def augment(k):
        x, y = load(k)
        noise = tf.random.stateless_normal((4,), seed=tf.stack([epoch, k]))
        return x + 0.1 * noise, y

    def train(folder, *more):
        model = compiled(network())
        ted = session(model, Pipeline(augment), n=N, backup=folder / "ted.npz")
        tell = keras.callbacks.LambdaCallback(
            on_epoch_begin=lambda number, logs: epoch.assign(number)
        )
        keeper = keras.callbacks.BackupAndRestore(folder / "keras")
        with ted:
            fit(ted, model, tell, keeper, *more)
        return ted, model

    ted, whole = train(tmp_path / "whole")
    with pytest.raises(KilledError):
        train(tmp_path / "killed", KillAfter(2))
    again, resumed = train(tmp_path / "killed")
    np.testing.assert_array_equal(ted.pruner.scores, again.pruner.scores)
    for one, other in zip(whole.get_weights(), resumed.get_weights(), strict=True):
        np.testing.assert_array_equal(one, other)


def test_a_batched_load_that_sorts_its_ids_is_refused():
    model = compiled(network())
    sorting = Pipeline(lambda ids: load(tf.sort(ids)), batched=True)
    ted = session(model, sorting, n=N)
    with pytest.raises(ValueError, match=r"must give sample ids\[j\] as row j"), ted:
        fit(ted, model)


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"workers": 2}, "`workers` must be at most 1 .* got 2 and False"),
        ({"use_multiprocessing": True}, "`use_multiprocessing` False with a Pipeline"),
        ({"n": None}, "`n` must be given with a function or a Pipeline"),
    ],
)
def test_options_that_a_pipeline_has_no_use_for_are_refused(options, said):
    with pytest.raises(ValueError, match=said):
        session(compiled(network()), Pipeline(load), **{"n": N, **options})


@pytest.mark.parametrize(
    ("given", "options", "kind", "said"),
    [
        (tf.data.Dataset.range(3), {}, TypeError, "`load` must be a function of an id"),
        (load, {"batched": 1}, TypeError, "`batched` must be"),
        (load, {"num_parallel_calls": 0}, ValueError, "`num_parallel_calls` must be"),
    ],
)
def test_arguments_out_of_range_are_refused(given, options, kind, said):
    with pytest.raises(kind, match=said):
        Pipeline(given, **options)


def one_part(k):
    return (tf.gather(X, k),)


def no_target(k):
    return tf.gather(X, k), None


def negative_weight(k):
    return *load(k), -1.0


@pytest.mark.parametrize(
    ("given", "kind", "said"),
    [
        (one_part, TypeError, r"`load\(id\)` must be \(x, y\), \(x, y, weights\) or"),
        (no_target, TypeError, r"`load\(id\)` must hold arrays, got builtins.NoneType"),
        (negative_weight, ValueError, "`weights` must be finite and at least 0"),
    ],
)
def test_samples_of_another_form_are_refused(given, kind, said):
    ted = session(compiled(network()), Pipeline(given), n=N)
    with pytest.raises(kind, match=said):
        ted.data[0]


def test_an_epoch_broken_off_leaves_the_rest_to_the_next_fit():
    class Stop(keras.callbacks.Callback):
        def on_train_batch_end(self, batch, logs=None):
            self.model.stop_training = True

    model = compiled(network())
    ted = session(model, Pipeline(load), n=N)
    with pytest.warns(ted_core.TedWarning, match="must have 6 epochs as planned"):
        fit(ted, model, Stop())
    fit(ted, model, initial_epoch=ted.epoch)
    assert ted.pruner.finished
    assert int(model.optimizer.iterations) == ted.total_steps
