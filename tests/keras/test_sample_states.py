"""Samples without a value, runs that end early or go on: states and accounts."""

from __future__ import annotations

import keras
import numpy as np
import pytest
from keras_checks.common import (
    EPOCHS,
    N,
    compiled,
    cross_entropy,
    fit,
    network,
    samples,
    session,
)
from keras_checks.weighing import mixed
from ted_keras import Mask

import ted_core
from ted_core import TedWarning

X, Y = samples()
HALF = (np.arange(N) % 2).astype("float32")


class Plans(keras.callbacks.Callback):
    """Note the samples of every epoch."""

    def __init__(self, ted):
        super().__init__()
        self.ted, self.kept = ted, []

    def on_epoch_begin(self, epoch, logs=None):
        self.kept.append(self.ted.pruner.plan().kept.tolist())


def run(ted, model, **options):
    plans = Plans(ted)
    fit(ted, model, plans, **options)
    return plans.kept


@pytest.mark.parametrize("strategy", [ted_core.TopScore(), ted_core.SoftTop()])
@pytest.mark.parametrize(
    ("data", "options", "masked"),
    [
        ((X, Y, HALF), {}, False),
        ((X, Y, HALF), {}, True),
        ((X, HALF), {"class_weight": {0: 0}}, False),
        ((X, HALF[:, None]), {"class_weight": {0: 0}}, True),
    ],
)
def test_samples_of_weight_0_do_not_own_the_budget(data, options, masked, strategy):
    model = compiled(network(mask=masked))
    ted = session(model, data, strategy=strategy, **options)
    kept = run(ted, model)
    heavy = set(np.flatnonzero(HALF).tolist())
    shortest = min(kept, key=len)
    assert len(shortest) < N / 2
    assert set(shortest) <= heavy
    assert ted.report().weightless[0] == N / 2
    # Every sample of a plan was forwarded once, those of weight 0 too.
    assert ted.savings().forwarded == sum(map(len, kept))
    saved = 1 - sum(map(len, kept)) / (EPOCHS * N)
    assert ted.savings().ratio == pytest.approx(saved)


def test_an_epoch_of_samples_of_weight_0_says_so():
    model = compiled(network())
    ted = session(model, (X, Y, np.zeros(N)))
    with (
        pytest.raises(ted_core.EpochError, match="64 with weight 0, 0 not finite"),
        ted,
    ):
        fit(ted, model)


def test_losses_that_are_not_finite_rank_at_the_median():
    class Broken(keras.losses.Loss):
        def call(self, y_true, y_pred):
            losses = keras.losses.sparse_categorical_crossentropy(
                y_true[:, 0] % 3, y_pred, from_logits=True
            )
            return keras.ops.where(y_true[:, 0] >= 3, np.nan, losses)

    bad = np.arange(N) % 4 == 0
    model = compiled(network(), 0.0, loss=Broken())
    ted = session(model, (X, (Y + 3 * bad)[:, None]), signal="loss")
    with pytest.warns(TedWarning, match=f"got 16 of {N} in epoch 0 that are not"):
        kept = run(ted, model)
    shares = [np.mean(bad[one]) for one in kept[1:-1]]
    assert max(shares) < 0.5  # before, they outranked all
    assert ted.report().nonfinite[0] == bad.sum()
    assert set(ted.report().nonfinite_ids.tolist()) <= set(np.flatnonzero(bad).tolist())


def test_sequences_whose_tokens_are_all_ignored_rank_last():
    x = np.random.default_rng(0).normal(size=(N, 5, 4)).astype("float32")
    y = np.random.default_rng(1).integers(0, 3, size=(N, 5))
    y[::2] = -1
    for masked in (False, True):
        model = compiled(
            keras.Sequential(
                [
                    keras.Input((5, 4)),
                    keras.layers.Dense(4),
                    *([Mask()] if masked else []),
                    keras.layers.Dense(3),
                ]
            ),
            loss=cross_entropy(ignore_class=-1),
        )
        ted = session(model, (x, y))
        kept = min(run(ted, model), key=len)
        assert not [one for one in kept if one % 2 == 0]
        assert ted.report().weightless[0] == N / 2


def test_an_early_stop_warns_with_the_numbers():
    class Stop(keras.callbacks.Callback):
        def on_epoch_end(self, epoch, logs=None):
            self.model.stop_training = epoch == 2

    model = compiled(network())
    ted = session(model)
    said = "must have 6 epochs as planned, got 3: 3 more, 1 of them on all data"
    with pytest.warns(TedWarning, match=said):
        fit(ted, model, Stop())
    fit(ted, model, initial_epoch=ted.epoch)
    assert ted.pruner.finished


def test_an_epoch_broken_off_is_not_counted_as_saved():
    class Stop(keras.callbacks.Callback):
        def on_train_batch_end(self, batch, logs=None):
            self.model.stop_training = True

    model = compiled(network())
    ted = session(model)
    with pytest.warns(TedWarning, match="got 0: 6 more"):
        fit(ted, model, Stop())
    assert ted.savings().ratio == 0
    with pytest.warns(TedWarning, match="must have 6 epochs"):
        ted.pruner.finish()
    assert (ted.savings().ratio, ted.savings().forwarded) == (0, 8)


def trained(epochs):
    """Train a model; return every state between two epochs, and the last one."""
    states = []

    class Keep(keras.callbacks.Callback):
        def on_epoch_begin(self, epoch, logs=None):
            states.append((ted.state_dict(), model.get_weights(), epoch))

    model = compiled(network())
    ted = session(model, epochs=epochs)
    fit(ted, model, Keep())
    states.append((ted.state_dict(), model.get_weights(), epochs))
    return states


@pytest.mark.parametrize("epochs", [EPOCHS + 4, EPOCHS + 1])
def test_a_run_is_extended_from_every_state_between_epochs(epochs):
    for state, weights, ran in trained(EPOCHS):
        model = compiled(network())
        model.set_weights(weights)
        ted = session(model, epochs=epochs)
        with pytest.raises(ted_core.CheckpointError, match="epochs"):
            ted.load_state_dict(state)
        ted.load_state_dict(state, allow=("epochs",))
        assert ted.epoch == ran
        before = sum(-(-int(k) // 8) for k in state["history.planned"])
        announced = ted.total_steps
        model.optimizer.iterations.assign(before)
        fit(ted, model, initial_epoch=ted.epoch)
        assert int(model.optimizer.iterations) == announced == ted.total_steps
        assert ted.pruner.finished


@pytest.mark.filterwarnings("ignore:`optimizer.iterations` must be")
def test_a_state_saved_before_the_epoch_closed_is_extended_as_well():
    states = []

    class Save(keras.callbacks.Callback):
        def on_epoch_end(self, epoch, logs=None):
            states.append(ted.state_dict())

    model = compiled(network())
    ted = session(model)
    model.fit(ted.data, epochs=EPOCHS, callbacks=[Save(), ted], verbose=0)
    for epoch, state in enumerate(states, start=1):
        other = session(model, epochs=EPOCHS + 2)
        other.load_state_dict(state, allow=("epochs",))
        assert other.epoch == epoch
        fit(other, model, initial_epoch=other.epoch)
        assert other.report().planned.size == EPOCHS + 2


def test_a_state_of_mixed_batches_saved_before_the_epoch_closed_has_its_scores():
    states, scores = [], []

    class Save(keras.callbacks.Callback):
        def on_epoch_end(self, epoch, logs=None):
            states.append(ted.state_dict())

    class Note(keras.callbacks.Callback):
        def on_epoch_end(self, epoch, logs=None):
            scores.append(ted.pruner.scores)

    model = compiled(network(activation="softmax"), loss="categorical_crossentropy")
    ted = session(model, mixed, n=N)
    model.fit(ted.data, epochs=EPOCHS, callbacks=[Save(), ted, Note()], verbose=0)
    for epoch, (state, closed) in enumerate(zip(states, scores, strict=True), start=1):
        other = session(model, mixed, n=N, epochs=EPOCHS + 2)
        other.load_state_dict(state, allow=("epochs",))
        assert other.epoch == epoch
        np.testing.assert_array_equal(other.pruner.scores, closed)
