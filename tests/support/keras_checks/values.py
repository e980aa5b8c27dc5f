"""The recorded values are the mask gradients of a plain computation."""

from __future__ import annotations

import keras
import numpy as np
from keras import ops
from keras_checks.common import (
    N,
    Subclassed,
    compiled,
    cross_entropy,
    fit,
    logits,
    network,
    number,
    samples,
    session,
    softmax,
    weights,
)
from ted_keras import Mask

from ted_core import cross_entropy_mask_gradient

CLOSE = {"rtol": 2e-4, "atol": 2e-6}


def scores_of(model, data=None, **options):
    """Train with a step of 0, so that every epoch sees the same values."""
    compile_options = options.pop("compile", {})
    compiled(model, 0.0, **compile_options)
    ted = session(model, data, **options)
    fit(ted, model)
    return ted.pruner.scores


def logits_of_a_sequential_model():
    x, y = samples()
    model = network()
    found = scores_of(model)
    np.testing.assert_allclose(
        found, cross_entropy_mask_gradient(logits(model, x), y), **CLOSE
    )


def softmax_outputs_have_the_values_of_their_logits():
    x, y = samples()
    model = network(activation="softmax")
    found = scores_of(
        model, compile={"loss": keras.losses.SparseCategoricalCrossentropy()}
    )
    p = np.log(logits(model, x))
    np.testing.assert_allclose(found, cross_entropy_mask_gradient(p, y), **CLOSE)


def sigmoid_outputs_have_the_values_of_their_logits():
    x, y = samples()
    target = (y[:, None] > 0).astype("float32")
    model = network(activation="sigmoid", units=1)
    found = scores_of(model, (x, target), compile={"loss": "binary_crossentropy"})
    p = logits(model, x)
    z = np.log(p / (1 - p))
    np.testing.assert_allclose(found, np.abs(z * (p - target))[:, 0], **CLOSE)


def a_softmax_under_another_loss_is_found_by_its_layer():
    x, y = samples()
    target = np.eye(3, dtype="float32")[y]
    model = network(activation="softmax")
    found = scores_of(model, (x, target), compile={"loss": "mse"})
    p = logits(model, x)
    g = 2 * (p - target) / 3
    dz = p * (g - (p * g).sum(axis=1, keepdims=True))
    np.testing.assert_allclose(found, np.abs((np.log(p) * dz).sum(1)), **CLOSE)


def a_given_activation_wins():
    model = network(activation="softmax")
    found = scores_of(
        model,
        activation="linear",
        compile={"loss": keras.losses.SparseCategoricalCrossentropy()},
    )
    # On the probabilities themselves it is a constant: Keras divides by their sum.
    np.testing.assert_allclose(found, np.zeros(N), atol=1e-6)


def an_inner_tensor_of_a_subclassed_model():
    x, y = samples()
    keras.utils.set_random_seed(1)
    model = Subclassed()
    found = scores_of(model)
    h = number(model.first(x)).astype("float64")
    g = (softmax(logits(model, x)) - np.eye(3)[y]) @ model.last.get_weights()[0].T
    np.testing.assert_allclose(found, np.abs((h * g).sum(axis=1)), **CLOSE)


def an_inner_tensor_is_free_of_weights_and_scales():
    x, y = samples()
    w = np.random.default_rng(0).uniform(0.5, 2, N).astype("float32")
    model = network(mask=True)
    plain = scores_of(model)
    weighted = scores_of(
        model,
        (x, y, w),
        compile={"loss": cross_entropy(reduction="sum")},
        class_weight={1: 3.0},
    )
    np.testing.assert_allclose(weighted, plain, **CLOSE)


class OwnLoss(keras.Model):
    def __init__(self):
        super().__init__()
        self.last = keras.layers.Dense(3)

    def call(self, x):
        return self.last(x)

    def compute_loss(self, x=None, y=None, y_pred=None, sample_weight=None, **options):
        losses = keras.losses.sparse_categorical_crossentropy(
            y, y_pred, from_logits=True
        )
        weighted = losses if sample_weight is None else losses * sample_weight
        return ops.mean(weighted)


def a_model_with_a_loss_of_its_own():
    x, y = samples()
    keras.utils.set_random_seed(1)
    model = OwnLoss()
    found = scores_of(model, compile={"loss": "mse"})
    np.testing.assert_allclose(
        found, cross_entropy_mask_gradient(logits(model, x), y), **CLOSE
    )


class HeedsNoWeight(OwnLoss):
    def compute_loss(self, x=None, y=None, y_pred=None, sample_weight=None, **options):
        return super().compute_loss(x, y, y_pred)


def a_loss_of_its_own_that_heeds_no_weight_is_refused():
    keras.utils.set_random_seed(1)
    model = compiled(HeedsNoWeight(), loss="mse")
    ted = session(model)
    try:
        with ted:
            fit(ted, model)
    except ValueError as error:
        said = "`compute_loss` of HeedsNoWeight must multiply"
        assert said in str(error), error  # noqa: PT017 - no pytest in here
        assert int(model.optimizer.iterations) == 0
        return
    raise AssertionError


def a_check_changes_no_weight_of_the_training():
    x, y = samples()

    def augmented(ids):
        return x[ids] + np.float32(np.random.rand()), y[ids]  # noqa: NPY002

    def trained(checks):
        keras.utils.set_random_seed(1)
        model = OwnLoss()
        model.last = keras.Sequential([keras.layers.Dropout(0.5), model.last])
        compiled(model)
        for _ in range(checks):
            ted = session(model, augmented, n=N)
            assert "heeds `sample_weight`" in str(ted.check())
        fit(session(model, augmented, n=N), model)
        return weights(model)

    for one, other in zip(trained(0), trained(2), strict=True):
        np.testing.assert_array_equal(one, other)


def samples_without_a_value_rank_last():
    x, y = samples()
    w = (np.arange(N) % 2).astype("float32")
    sequences = np.repeat(x[:, None], 5, axis=1), np.where(w > 0, y, -1)
    for mask, data, loss in (
        (False, (x, y, w), cross_entropy()),
        (True, (x, y, w), cross_entropy()),
        (
            True,
            (sequences[0], np.repeat(sequences[1][:, None], 5, axis=1)),
            cross_entropy(ignore_class=-1),
        ),
    ):
        keras.utils.set_random_seed(1)
        layers = [keras.Input(data[0].shape[1:]), keras.layers.Dense(4)]
        layers += [Mask()] if mask else []
        model = keras.Sequential([*layers, keras.layers.Dense(3)])
        compiled(model, loss=loss)
        ted = session(model, data)
        fit(ted, model)
        assert ted.report().weightless[0] == N / 2
        assert np.isnan(ted.pruner.scores[w == 0]).all()
        assert np.isfinite(ted.pruner.scores[w == 1]).all()
        # None of them in the shortest epochs, which heavy samples can fill.
        counts = ted.report()
        short = counts.planned <= N / 2
        assert short.any()
        assert not counts.weightless[short].any()


def one_of_several_outputs():
    x, y = samples()
    keras.utils.set_random_seed(1)
    inputs = keras.Input((4,))
    hidden = keras.layers.Dense(5, activation="tanh")(inputs)
    heads = {
        "a": keras.layers.Dense(3, name="a")(hidden),
        "b": keras.layers.Dense(1, name="b")(hidden),
    }
    for outputs in (heads, list(heads.values())):
        model = keras.Model(inputs, outputs)
        model.compile("sgd", {"a": cross_entropy(), "b": "mse"}, metrics={"b": "mae"})
        model.optimizer.learning_rate = 0.0
        target = {"a": y, "b": x[:, :1]}
        target = target if isinstance(outputs, dict) else list(target.values())
        ted = session(model, (x, target), output="b")
        history = fit(ted, model).history
        made = model(x)
        z = number(made["b"] if isinstance(made, dict) else made[1])
        np.testing.assert_allclose(
            ted.pruner.scores, np.abs(2 * z * (z - x[:, :1]))[:, 0], **CLOSE
        )
        mae = np.abs(z - x[:, :1])[:, 0]
        np.testing.assert_allclose(history["b_mae"][0], mae.mean(), rtol=1e-5)
        np.testing.assert_allclose(history["b_mae"][-1], mae.mean(), rtol=1e-5)


def sequences_are_averaged_over_their_own_tokens():
    rng = np.random.default_rng(0)
    x = rng.integers(1, 9, size=(N, 5))
    x[::2, 3:] = 0  # masked by the embedding
    y = rng.integers(0, 3, size=(N, 5))
    for site in (False, True):
        keras.utils.set_random_seed(1)
        layers = [keras.Input((5,)), keras.layers.Embedding(9, 4, mask_zero=True)]
        layers += [Mask()] if site else []
        model = keras.Sequential([*layers, keras.layers.Dense(3, use_bias=False)])
        found = scores_of(model, (x, y))
        z = logits(model, x)
        kept = x > 0
        values = (z * (softmax(z) - np.eye(3)[y])).sum(axis=2) * kept
        want = np.abs(values.sum(axis=1) / kept.sum(axis=1))
        # A head without a bias gives the same number at its input.
        np.testing.assert_allclose(found, want, **CLOSE)


def short_last_batches_count_as_long_ones():
    for mask in (False, True):
        model = network(mask=mask)
        one = scores_of(model, batch_size=7)
        other = scores_of(model, batch_size=N)
        np.testing.assert_allclose(one, other, **CLOSE)


CHECKS = (
    logits_of_a_sequential_model,
    softmax_outputs_have_the_values_of_their_logits,
    sigmoid_outputs_have_the_values_of_their_logits,
    a_softmax_under_another_loss_is_found_by_its_layer,
    a_given_activation_wins,
    an_inner_tensor_of_a_subclassed_model,
    an_inner_tensor_is_free_of_weights_and_scales,
    a_model_with_a_loss_of_its_own,
    a_loss_of_its_own_that_heeds_no_weight_is_refused,
    a_check_changes_no_weight_of_the_training,
    samples_without_a_value_rank_last,
    one_of_several_outputs,
    sequences_are_averaged_over_their_own_tokens,
    short_last_batches_count_as_long_ones,
)
