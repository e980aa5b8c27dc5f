"""What Keras trains on, where a loss is not the plain one of logits."""

from __future__ import annotations

import keras
import numpy as np
import pytest
from keras_checks.common import EPOCHS, RUN, N, compiled, fit, samples, session
from ted_keras import TED

LOSSES = keras.losses
X, Y = samples()
WEIGHTS = np.arange(N, dtype="float32") % 3


def head(activation, units):
    """Pixels that nobody has scaled: most outputs are 0 or 1 to the last bit."""
    keras.utils.set_random_seed(1)
    last = keras.layers.Dense(units, activation=activation)
    return keras.Sequential([keras.Input((4,)), keras.layers.Rescaling(255.0), last])


@pytest.mark.parametrize(
    ("activation", "units", "loss"),
    [
        ("softmax", 3, LOSSES.SparseCategoricalCrossentropy),
        ("sigmoid", 1, LOSSES.BinaryCrossentropy),
    ],
)
def test_the_hardest_samples_of_an_activated_head_have_their_logits_value(
    activation, units, loss
):
    y = Y if units > 1 else (Y > 1).astype("float32")[:, None]
    scores = []
    for kind, made in ((activation, loss()), (None, loss(from_logits=True))):
        model = compiled(head(kind, units), rate=0.0, loss=made)
        ted = TED(model, (X, y), **RUN)
        fit(ted, model)
        scores.append(ted.pruner.scores)
    hard = scores[1] > 20  # at probabilities below Keras' smallest, 1e-7
    assert hard.sum() > 10
    np.testing.assert_allclose(scores[0][hard], scores[1][hard], rtol=1e-5)
    np.testing.assert_allclose(*scores, atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("batch", [16, 12])
@pytest.mark.parametrize(
    ("loss", "targets"),
    [
        (LOSSES.CTC(), np.random.default_rng(0).integers(1, 5, (48, 3))),
        (LOSSES.Dice(axis=(1, 2)), np.eye(6)[np.arange(48 * 16).reshape(48, 16) % 6]),
    ],
    ids=["ctc", "dice"],
)
def test_weights_meet_the_axes_that_a_loss_leaves(loss, targets, batch):
    draw = np.random.default_rng(1)
    x = draw.normal(size=(48, 16, 4)).astype("float32")
    weights = draw.integers(0, 3, 48).astype("float32")

    def model():
        keras.utils.set_random_seed(1)
        return compiled(
            keras.Sequential([keras.Input((16, 4)), keras.layers.Dense(6)]), loss=loss
        )

    ours, plain = model(), model()
    options = {"epochs": 2, "prune_ratio": 0.0, "batch_size": batch}
    ted = TED(ours, (x, targets, weights), method="ted_loss", **options)
    order = ted.pruner.plan().order
    rows = {"shuffle": False, "batch_size": batch, "verbose": 0}
    given = (x[order], targets[order], weights[order])
    theirs = plain.fit(*given[:2], sample_weight=given[2], epochs=1, **rows)
    mine = fit(ted, ours)
    assert mine.history["loss"][0] == pytest.approx(theirs.history["loss"][0], rel=1e-5)


def test_a_state_saved_after_the_last_batch_of_all_is_finished_by_a_fit():
    class Save(keras.callbacks.Callback):
        def on_train_batch_end(self, batch, logs=None):
            self.state = ted.state_dict()

    model, save = compiled(head(None, 3)), Save()
    ted = session(model)
    fit(ted, model, save)
    again = session(model)
    again.load_state_dict(save.state)
    assert again.epoch == EPOCHS
    fit(again, model, initial_epoch=again.epoch)
    assert again.pruner.finished
    np.testing.assert_array_equal(again.pruner.scores, ted.pruner.scores)
    assert again.savings() == ted.savings()
