"""What is found before the first step: rows, own losses and steps, learning rates."""

from __future__ import annotations

import random
import warnings

import keras
import numpy as np
import pytest
import tensorflow as tf
from keras import ops
from keras.optimizers import schedules
from keras_checks.common import (
    EPOCHS,
    N,
    compiled,
    cross_entropy,
    fit,
    network,
    samples,
    session,
    weights,
)
from ted_keras import Mask

import ted_core
from ted_core import CheckpointError, EpochError, TedWarning

X, Y = samples()


def sorts(ids):
    up = np.sort(ids)
    return X[up], Y[up]


def sorts_by_length(ids):
    order = ids[np.argsort(X[ids, 0] > 0, kind="stable")]
    return X[order], Y[order]


def sorts_and_augments(ids):
    x, y = sorts(ids)
    return x + np.random.default_rng().normal(size=x.shape), y


def sorts_the_inputs_alone(ids):
    return X[np.sort(ids)], Y[ids]


@pytest.mark.parametrize(
    "reader", [sorts, sorts_by_length, sorts_and_augments, sorts_the_inputs_alone]
)
def test_a_reader_that_sorts_its_ids_is_refused_before_the_first_step(reader):
    model = compiled(network())
    ted = session(model, reader, n=N)
    said = r"`data\(ids\)` must give .* as row j.*np\.argsort\(up\).*: TED shuffles"
    with pytest.raises(ValueError, match=said), ted:
        fit(ted, model)
    assert int(model.optimizer.iterations) == 0
    with pytest.raises(ValueError, match=said):
        ted.check()


def undoes_its_sorting(ids):
    up = np.argsort(ids)
    back = np.argsort(up)
    return X[ids[up]][back], Y[ids[up]][back]


def augments(ids):
    generator = np.random.default_rng()
    flip = generator.integers(0, 2, size=(len(ids), 1))
    return np.where(flip, -X[ids], X[ids]), Y[ids]


def smooths(ids):
    noise = np.random.default_rng(0).normal(size=X[ids].shape)
    return X[ids] + noise, Y[ids]


@pytest.mark.parametrize("reader", [undoes_its_sorting, augments, smooths])
def test_a_reader_whose_row_j_is_sample_j_trains(reader):
    model = compiled(network())
    ted = session(model, reader, n=N)
    fit(ted, model)
    assert ted.pruner.finished


def numbers():
    """Draw from the generators that a model of a user's may draw from."""
    generator = tf.random.get_global_generator()
    drawn = tf.random.normal(()), tf.random.uniform((), seed=7), generator.normal(())
    return [random.random(), np.random.rand(), *map(float, drawn)]  # noqa: NPY002, S311


class Own(keras.Model):
    """A model whose loss is its own."""

    def __init__(self, loss):
        super().__init__()
        self.first = keras.layers.Dropout(0.5)
        self.last = keras.layers.Dense(3)
        self.own = loss

    def call(self, x, training=None):
        return self.last(self.first(x, training=training))

    def compute_loss(self, x=None, y=None, y_pred=None, sample_weight=None, **options):
        losses = keras.losses.sparse_categorical_crossentropy(
            y, y_pred, from_logits=True
        )
        return self.own(losses, sample_weight)


def ignoring(losses, sample_weight):
    del sample_weight
    return ops.mean(losses)


def normalising(losses, sample_weight):
    return ops.sum(losses * sample_weight) / ops.sum(sample_weight)


def heeding(losses, sample_weight):
    return ops.mean(losses if sample_weight is None else losses * sample_weight)


def noisy(losses, sample_weight):
    noise = tf.random.normal(()) + tf.random.uniform((), seed=7)
    noise += tf.random.get_global_generator().normal(()) + keras.random.normal(())
    return heeding(losses * tf.exp(noise), sample_weight)


@pytest.mark.parametrize("loss", [ignoring, normalising])
def test_an_own_compute_loss_that_ignores_the_weights_is_refused_by_name(loss):
    model = compiled(Own(loss))
    ted = session(model)
    said = "`compute_loss` of Own must multiply each sample's loss with `sample_weight`"
    with pytest.raises(ValueError, match=said), ted:
        fit(ted, model)
    assert int(model.optimizer.iterations) == 0
    assert "compute_loss" not in vars(model)


def test_an_override_on_the_instance_is_looked_at_too():
    model = compiled(network())
    model.compute_loss = lambda x, y, y_pred, *_, **__: cross_entropy()(y, y_pred)
    ted = session(model)
    with pytest.raises(ValueError, match="`compute_loss` of Sequential must"), ted:
        fit(ted, model)


def test_weights_that_nothing_needs_may_be_ignored():
    model = compiled(Own(ignoring))
    ted = session(model, scale_loss=False)
    fit(ted, model)
    assert ted.pruner.finished
    model = compiled(Own(ignoring))
    for data, options in (
        ((X, Y, np.ones(N)), {}),
        ((X, Y), {"method": "importance"}),
        ((X, Y), {"strategy": ted_core.InfoBatch()}),
    ):
        ted = session(model, data, scale_loss=False, **options)
        with pytest.raises(ValueError, match="`compute_loss` of Own must"), ted:
            fit(ted, model)


def augmented(ids):
    return X[ids] + np.float32(sum(numbers())), Y[ids]


# Either the data or the steps draw: threads of TensorFlow's read the data beside them.
@pytest.mark.parametrize(
    ("data", "loss", "run_eagerly"),
    [(augmented, heeding, False), (None, noisy, False), (None, noisy, True)],
)
@pytest.mark.parametrize("built", [False, True])
def test_a_check_changes_neither_weights_nor_random_numbers(
    data, loss, run_eagerly, built
):
    n = None if data is None else N

    def trained(checks):
        keras.utils.set_random_seed(3)
        tf.random.set_global_generator(tf.random.Generator.from_seed(3))
        numbers(), keras.random.normal(())
        model = compiled(Own(loss), run_eagerly=run_eagerly)
        if built:
            model(X)
        for _ in range(checks):
            said = str(session(model, data, n=n).check())
            assert "compute_loss: `compute_loss` of Own" in said
        first = numbers()
        ted = session(model, data, n=n, scale_loss=False)  # whose fit need not look
        fit(ted, model)
        return [*first, *numbers()], weights(model)

    plain = trained(checks=0)
    for checks in (1, 2):
        found = trained(checks)
        assert found[0] == plain[0]
        for one, other in zip(found[1], plain[1], strict=True):
            np.testing.assert_array_equal(one, other)


def test_signal_loss_says_that_it_ranks_by_another_loss():
    model = compiled(Own(heeding))
    ted = session(model, signal="loss")
    with pytest.warns(TedWarning, match="signal='loss' ranks by the loss compiled"):
        fit(ted, model)


def test_check_tells_the_facts_of_a_run():
    loss = "sparse_categorical_crossentropy"
    model = compiled(network(activation="softmax"), loss=loss)
    ted = session(model)
    steps = ted.total_steps
    rate = schedules.CosineDecay(0.1, steps)
    model.compile(keras.optimizers.SGD(rate), loss)
    report = ted.check()
    assert report.problems == ()
    kept = ted.pruner.schedule_table()["kept"]
    last = f"{float(rate(steps - 1)):.3g}"
    assert str(report).splitlines() == [
        f"data: {N} samples, row j of a batch is ids[j]",
        f"epochs: {EPOCHS}, of {kept.min()} to {N} samples, {steps} steps of 8",
        f"learning rate: CosineDecay, {last} in the last of {steps} steps",
        "mask: at the output, before its softmax",
        f"fit: give it `ted.data`, epochs={EPOCHS} and callbacks=[ted]",
    ]
    fit(ted, model)  # a check leaves nothing behind
    assert int(model.optimizer.iterations) == steps


@pytest.mark.parametrize(
    ("rate", "said"),
    [
        (
            schedules.CosineDecay(0.1, 48),
            r"after 30 steps, got 48; give decay_steps=ted\.total_steps$",
        ),
        (
            schedules.CosineDecay(0.0, 48, 0, None, 0.1, 5),
            r"got 53; give decay_steps=ted\.total_steps - 5, after as many of warm-up",
        ),
        (
            schedules.PolynomialDecay(0.1, 100),
            "PolynomialDecay must end with the run after 30 steps, got 100",
        ),
        (
            schedules.CosineDecay(0.1, 48, warmup_steps=5),  # no target, no warm-up
            r"after 30 steps, got 48; give decay_steps=ted\.total_steps$",
        ),
        (
            schedules.CosineDecayRestarts(0.1, 8),
            "end with the run after 30 steps, got 56; give cycles that end",
        ),
        (
            schedules.PiecewiseConstantDecay([10, 36], [0.1, 0.01, 0.001]),
            "change for the last time within the run's 30 steps, got 36",
        ),
        (
            schedules.ExponentialDecay(0.1, 48, 0.1),
            "change for the first time within the run's 30 steps, got 48",
        ),
        (
            schedules.InverseTimeDecay(0.1, 31, 0.1),
            "for the first time within the run's 30 steps, got 31",
        ),
    ],
)
def test_check_warns_of_a_learning_rate_that_does_not_end_with_the_run(rate, said):
    model = compiled(network(), rate)
    ted = session(model)
    with pytest.warns(TedWarning, match=said):
        report = ted.check()
    assert len(report.problems) == 1


class Halving(schedules.LearningRateSchedule):
    """A schedule that can not be written down, as it has no `get_config`."""

    def __call__(self, step):
        return 0.1 * 0.5 ** (ops.cast(step, "float32") / 29)


@pytest.mark.parametrize(
    ("rate", "said"),
    [
        (0.1, "learning rate: no schedule"),
        (Halving(), "learning rate: Halving, 0.05 in the last of 30 steps"),
        (
            schedules.CosineDecay(0.0, 20, warmup_target=0.1, warmup_steps=10),
            "CosineDecay, 0.000616 in the last of 30 steps",
        ),
        (schedules.CosineDecayRestarts(0.1, 10, t_mul=1.0), "CosineDecayRestarts, "),
        (schedules.CosineDecayRestarts(0.1, 10), "CosineDecayRestarts, "),
        (schedules.PiecewiseConstantDecay([10, 20], [0.1, 0.01, 0.001]), ", 0.001 in"),
        (schedules.ExponentialDecay(0.1, 10, 0.5, staircase=True), ", 0.025 in the"),
        (schedules.PolynomialDecay(0.1, 8, cycle=True), "PolynomialDecay, "),
    ],
)
def test_check_tells_the_rate_of_the_last_step(rate, said):
    ted = session(compiled(network(), rate))
    report = ted.check()
    assert report.problems == ()
    assert said in next(line for line in report.lines if "learning rate" in line)


def test_a_fit_warns_of_a_learning_rate_that_does_not_end_with_the_run():
    model = compiled(network(), schedules.CosineDecay(0.1, 48))
    ted = session(model)
    with pytest.warns(TedWarning, match=r"CosineDecay must end .* 30 steps, got 48"):
        fit(ted, model)


def test_a_fit_is_silent_of_what_a_check_has_told():
    model = compiled(network(), schedules.CosineDecay(0.1, 48))
    ted = session(model)
    with pytest.warns(TedWarning, match="CosineDecay must end"):
        ted.check()
    fit(ted, model)  # a warning is an error here


def test_a_check_refuses_a_method_of_classes_as_the_fit_does():
    loss = keras.losses.BinaryCrossentropy(from_logits=True)
    model = compiled(network(units=1), loss=loss)
    ted = session(model, (X, Y > 0), method="soft_margin")
    said = (
        r"^`method='soft_margin'` needs an output of classes, shape \(B, C\), got one "
        r"of shape \(8, 1\); take method='ted' or method='ted_loss'$"
    )
    with pytest.raises(ValueError, match=said):
        ted.check()
    with pytest.raises(ValueError, match=r"`method='soft_margin'` needs"), ted:
        fit(ted, model)


SPARSE, BINARY = (
    keras.losses.SparseCategoricalCrossentropy,
    keras.losses.BinaryCrossentropy,
)


@pytest.mark.parametrize(
    ("made", "loss", "said"),
    [
        ({}, "sparse_categorical_crossentropy", r"or do not sum to 1: .* last softmax"),
        ({"activation": "sigmoid"}, SPARSE(), r"or do not sum to 1: .* last softmax"),
        ({"units": 1}, "binary_crossentropy", r"not in \[0, 1\]: .* last sigmoid"),
        ({"activation": "softmax"}, SPARSE(from_logits=True), "takes logits"),
        (
            {"activation": "sigmoid", "units": 1},
            BINARY(from_logits=True),
            r"takes logits \(`from_logits=True`\), got outputs that are probabilities",
        ),
    ],
)
def test_a_check_holds_the_outputs_against_what_the_loss_takes(made, loss, said):
    ted = session(compiled(network(**made), loss=loss), (X, Y % made.get("units", 3)))
    with pytest.warns(TedWarning, match=said):
        report = ted.check()
    assert len(report.problems) == 1


@pytest.mark.parametrize(
    ("made", "loss"),
    [
        ({}, SPARSE(from_logits=True)),
        ({"activation": "softmax"}, SPARSE()),
        ({"units": 1}, BINARY(from_logits=True)),
        ({"activation": "sigmoid", "units": 1}, BINARY()),
        ({"activation": "softmax"}, "mse"),
    ],
)
def test_a_check_takes_outputs_that_go_with_the_loss(made, loss):
    target = (
        np.eye(3, dtype="float32")[Y] if loss == "mse" else Y % made.get("units", 3)
    )
    ted = session(compiled(network(**made), loss=loss), (X, target))
    assert ted.check().problems == ()


@pytest.mark.parametrize("freq", [2, False])
def test_a_backup_of_the_model_within_an_epoch_is_refused_beside_one_of_the_session(
    freq, tmp_path
):
    keeper = keras.callbacks.BackupAndRestore(tmp_path / "keras", save_freq=freq)
    model = compiled(network())
    ted = session(model, backup=tmp_path / "ted.npz")
    said = (
        f"`save_freq` of BackupAndRestore must be 'epoch' beside `backup`, got {freq}"
    )
    with pytest.raises(ValueError, match=said), ted:
        fit(ted, model, keeper)


def test_a_backup_of_the_model_before_that_of_the_session_is_refused(tmp_path):
    keeper = keras.callbacks.BackupAndRestore(tmp_path / "keras")
    model = compiled(network())
    ted = session(model, backup=tmp_path / "ted.npz")
    said = "`callbacks` must have TED before BackupAndRestore, got it behind"
    with pytest.raises(ValueError, match=said), ted:
        model.fit(ted.data, epochs=EPOCHS, callbacks=[keeper, ted], verbose=0)
    assert int(model.optimizer.iterations) == 0


def test_a_backup_of_the_model_alone_is_warned_of(tmp_path):
    keeper = keras.callbacks.BackupAndRestore(tmp_path / "keras")
    model = compiled(network())
    said = "`backup` should be given beside BackupAndRestore, which keeps the model al"
    with pytest.warns(TedWarning, match=said):
        fit(session(model), model, keeper)


def test_random_layers_that_a_state_does_not_know_are_warned_of():
    def of(*layers):
        return compiled(keras.Sequential([keras.Input((4,)), *layers, *head]))

    head = [keras.layers.Dense(3)]
    saved = session(of(keras.layers.Dropout(0.1))).state_dict()
    model = of()
    ted = session(model)
    ted.load_state_dict(saved)
    said = "`model` should have 1 random layers, .* got 0: dropout, noise and augmenta"
    with pytest.warns(TedWarning, match=said):
        fit(ted, model)


@pytest.mark.parametrize("damage", [np.zeros((1, 3), "<i8"), np.zeros(2), "a"])
def test_random_states_that_no_layer_can_have_change_nothing(damage):
    ted = session(compiled(network()))
    before = ted.state_dict()
    state = {**before, "ted_keras.random.layers": damage}
    with pytest.raises(CheckpointError, match=r"`ted_keras\.random\.layers` must be"):
        ted.load_state_dict(state)
    assert ted.state_dict().keys() == before.keys()


@pytest.mark.parametrize("kind", ["EarlyStopping", "ReduceLROnPlateau"])
def test_a_callback_that_watches_the_training_loss_is_warned_of(kind):
    model = compiled(network())
    ted = session(model)
    watching = getattr(keras.callbacks, kind)(monitor="loss", patience=9)
    said = f"`monitor` of {kind} should be 'val_loss', got 'loss'"
    with pytest.warns(TedWarning, match=said):
        fit(ted, model, watching)


def test_a_checkpoint_watches_the_loss_only_where_it_keeps_the_best(tmp_path):
    for best in (False, True):
        model = compiled(network())
        ted = session(model)
        checkpoint = keras.callbacks.ModelCheckpoint(
            tmp_path / "model.keras", monitor="loss", save_best_only=best
        )
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always", TedWarning)
            fit(ted, model, checkpoint)
        assert len(caught) == best


def test_an_early_end_names_the_callback_that_made_it():
    model = compiled(network(), 0.0)
    ted = session(model)
    stop = keras.callbacks.EarlyStopping("val_loss", patience=2, min_delta=1.0)
    said = r"got 3 by EarlyStopping\(monitor='val_loss'\): 3 more"
    with pytest.warns(TedWarning, match=said):
        fit(ted, model, stop, validation_data=(X, Y))


def test_weights_of_another_moment_than_a_loaded_session_are_warned_of():
    class Keep(keras.callbacks.Callback):
        def on_epoch_end(self, epoch, logs=None):
            states.append(ted.state_dict())
            if epoch == 1:
                self.kept = [np.array(v) for v in self.model.optimizer.variables]

    states, keep = [], Keep()
    model = compiled(network())
    ted = session(model)
    fit(ted, model, keep)

    def resumed(state):
        again = compiled(network())
        again.optimizer.build(again.trainable_variables)
        for variable, value in zip(again.optimizer.variables, keep.kept, strict=True):
            variable.assign(value)
        other = session(again)
        other.load_state_dict(state)
        fit(other, again, initial_epoch=other.epoch)
        return int(again.optimizer.iterations) == other.total_steps

    assert resumed(states[1])
    older, newer = (one["ted_keras.iterations"] for one in states[1:4:2])
    said = f"`optimizer.iterations` must be {newer}, as when .* got {older}: weights"
    with pytest.warns(TedWarning, match=said):
        assert not resumed(states[3])


def test_check_warns_of_last_batches_of_one_sample():
    model = compiled(network())
    ted = session(model, batch_size=11)
    said = r"last batch of one sample in 1 of 6 epochs \(3\),.*`multiple_of=11`"
    with pytest.warns(TedWarning, match=said):
        ted.check()
    assert ted.total_steps > 0  # no warning: the check has it


@pytest.mark.parametrize(
    ("activation", "options", "said"),
    [
        ("softplus", {}, "the mask stands at the output after its softplus"),
        ("tanh", {}, "the mask stands at the output after its tanh"),
    ],
)
def test_check_says_which_activations_are_not_undone(activation, options, said):
    model = compiled(network(activation=activation), loss="mse", **options)
    ted = session(model, (X, np.ones((N, 3), "float32")))
    with pytest.warns(TedWarning, match=said):
        ted.check()


def test_check_says_where_else_the_value_is_taken():
    for options, line in (
        ({"mask": True}, "mask: at the layer site"),
        ({}, "mask: at the output"),
    ):
        ted = session(compiled(network(**options)))
        assert line in ted.check().lines
    ted = session(compiled(network()), signal="el2n")
    assert "signal: el2n of the scored output" in ted.check().lines


def test_check_of_a_model_that_is_not_compiled_says_so():
    ted = session(network())
    with pytest.warns(TedWarning, match="not compiled"):
        ted.check()


def test_check_of_a_strategy_of_unknown_counts_gives_the_bound():
    ted = session(compiled(network()), strategy=ted_core.InfoBatch())
    assert "epochs: samples depend on scores, 48 steps at most" in ted.check().lines


class Stepping(keras.Model):
    """A model with a step of its own, written for TensorFlow."""

    def __init__(self, kind):
        super().__init__()
        self.last = keras.layers.Dense(3)
        self.kind = kind

    def call(self, x):
        return self.last(x)


def tape_of(model, data, loss):
    x, y, w = data
    with tf.GradientTape() as tape:
        total = loss(x, y, model(x), w)
    grads = tape.gradient(total, model.trainable_variables)
    model.optimizer.apply_gradients(zip(grads, model.trainable_variables, strict=True))
    return {"loss": total}


class CallsIt(Stepping):
    def train_step(self, data):
        return tape_of(self, data, self.compute_loss)


@tf.function
def traced(model, data):
    return tape_of(model, data, model.compute_loss)


class CallsATracedFunction(Stepping):
    def train_step(self, data):
        return traced(self, data)


class ComputesItself(Stepping):
    def train_step(self, data):
        x, y, _ = data
        with tf.GradientTape() as tape:
            loss = keras.losses.sparse_categorical_crossentropy(y, self(x))
        variables = self.trainable_variables
        grads = tape.gradient(loss, variables)
        self.optimizer.apply_gradients(zip(grads, variables, strict=True))
        return {}


class DropsTheWeights(Stepping):
    def train_step(self, data):
        return tape_of(self, data, lambda x, y, z, w: self.compute_loss(x, y, z))


class TwoPasses(Stepping):
    def train_step(self, data):
        tape_of(self, data, self.compute_loss)
        return tape_of(self, data, self.compute_loss)


@pytest.mark.parametrize("kind", [CallsIt, CallsATracedFunction])
def test_a_train_step_that_calls_compute_loss_once_trains(kind):
    model = compiled(kind("good"))
    ted = session(model)
    assert any(line.startswith("train_step: of Calls") for line in ted.check().lines)
    fit(ted, model)
    assert ted.pruner.finished
    assert np.isfinite(ted.pruner.scores).all()


def test_a_train_step_without_compute_loss_is_refused_at_construction():
    said = r"`train_step` of ComputesItself must call `self\.compute_loss\("
    with pytest.raises(TypeError, match=said):
        session(compiled(ComputesItself("bad")))


def test_a_train_step_that_drops_the_weights_is_named_when_the_epoch_ends():
    model = compiled(DropsTheWeights("bad"))
    ted = session(model)
    said = "got none in epoch 0; `train_step` of DropsTheWeights must call"
    with pytest.raises(EpochError, match=said), ted:
        fit(ted, model)


@pytest.mark.parametrize("masked", [False, True])
def test_a_second_pass_of_one_step_is_refused_in_the_first_step(masked):
    model = TwoPasses("sam")
    if masked:
        model.last = keras.Sequential([keras.layers.Dense(4), Mask(), model.last])
    compiled(model)
    ted = session(model)
    with pytest.raises(EpochError, match="must call `compute_loss` once a step"), ted:
        fit(ted, model)
    assert int(model.optimizer.iterations) <= 1


def test_a_run_that_has_finished_has_nothing_to_check():
    model = compiled(network())
    ted = session(model, (X, Y))
    fit(ted, model)
    found = ted.check()
    assert str(found) == f"run: finished after {EPOCHS} epochs, nothing to train"
    assert not found.problems
