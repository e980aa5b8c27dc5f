from __future__ import annotations

from functools import partial

import keras
import numpy as np
import pytest
import tensorflow as tf
from hypothesis import given, settings
from hypothesis import strategies as st
from keras import layers
from ted_keras.analysis import (
    flat_gradient,
    flat_weights,
    load_flat_weights,
    sample_losses,
)

from ted_core.analysis import loss_along

loss = partial(keras.losses.sparse_categorical_crossentropy, from_logits=True)


@pytest.fixture
def data():
    random = np.random.default_rng(5)
    return random.normal(size=(40, 6)).astype("float32"), random.integers(0, 4, 40)


@pytest.fixture
def model():
    keras.utils.set_random_seed(3)
    return keras.Sequential(
        [
            keras.Input((6,)),
            layers.Dense(5),
            layers.BatchNormalization(),
            layers.ReLU(),
            layers.Dropout(0.5),
            layers.Dense(4),
        ]
    )


def test_losses_are_those_of_one_sample_at_a_time_in_order(model, data):
    x, y = data
    found = sample_losses(model, x, y, loss, batch_size=7)
    slow = [float(loss(y[k : k + 1], model(x[k : k + 1]))[0]) for k in range(40)]
    assert found.dtype == np.float64
    np.testing.assert_allclose(found, slow, atol=1e-5)


def test_losses_of_tokens_are_averaged(data):
    model = keras.Sequential([keras.Input((6,)), layers.Identity()])
    found = sample_losses(model, data[0], data[1], lambda _, z: z)
    np.testing.assert_allclose(found, data[0].mean(axis=1), atol=1e-5)


def test_no_samples_have_no_losses(model, data):
    assert sample_losses(model, data[0][:0], data[1][:0], loss).shape == (0,)


@pytest.mark.parametrize("batch_size", [1, 7, 40])
def test_the_gradient_is_that_of_the_mean_loss_whatever_the_batches(
    model, data, batch_size
):
    x, y = data
    before = flat_weights(model)
    found = flat_gradient(model, x, y, loss, batch_size=batch_size)
    with tf.GradientTape() as tape:
        mean = tf.reduce_mean(loss(y, model(x, training=False)))
    slow = tape.gradient(mean, [v.value for v in model.trainable_variables])
    slow = np.concatenate([g.numpy().ravel() for g in slow])
    assert np.ptp(slow) > 0
    np.testing.assert_allclose(found, slow, atol=1e-5)
    np.testing.assert_array_equal(flat_weights(model), before)


def test_the_gradients_of_parts_add_up_to_that_of_the_whole(model, data):
    x, y = data
    kept = np.arange(0, 40, 3)
    rest = np.setdiff1d(np.arange(40), kept)
    full = flat_gradient(model, x, y, loss)
    parts = [flat_gradient(model, x[ids], y[ids], loss) for ids in (kept, rest)]
    mean = (kept.size * parts[0] + rest.size * parts[1]) / 40
    np.testing.assert_allclose(mean, full, atol=1e-5)


def test_weights_come_back_with_the_statistics_of_batch_norm(model, data):
    x, y = data
    before, losses = flat_weights(model), sample_losses(model, x, y, loss)
    model(x, training=True)  # moves the statistics, not the parameters
    assert np.abs(sample_losses(model, x, y, loss) - losses).max() > 1e-4
    load_flat_weights(model, before)
    np.testing.assert_array_equal(sample_losses(model, x, y, loss), losses)


@settings(deadline=None, max_examples=20)
@given(st.integers(0, 2**32))
def test_what_is_written_is_read_in_the_models_precision(seed):
    model = keras.Sequential([keras.Input((3,)), layers.Dense(2)])
    theta = np.random.default_rng(seed).normal(size=8)
    load_flat_weights(model, theta)
    np.testing.assert_array_equal(flat_weights(model), theta.astype("float32"))


def test_the_loss_along_the_line_starts_and_ends_with_the_models_own(model, data):
    x, y = data
    first, ends = flat_weights(model), [sample_losses(model, x, y, loss).mean()]
    last = first + np.random.default_rng(0).normal(scale=0.1, size=first.size) ** 2
    load_flat_weights(model, last)
    ends.append(sample_losses(model, x, y, loss).mean())

    def evaluate(theta):
        load_flat_weights(model, theta)
        return sample_losses(model, x, y, loss).mean()

    found = loss_along(evaluate, first, last, [0, 0.5, 1])
    np.testing.assert_allclose(found[[0, 2]], ends, atol=1e-5)


def test_bad_input_is_refused_by_name(model, data):
    x, y = data
    with pytest.raises(ValueError, match=r"`theta` must have shape \(\d+,\), got"):
        load_flat_weights(model, [1.0])
    with pytest.raises(ValueError, match="`y` must have 40 rows like `x`, got 39"):
        sample_losses(model, x, y[:39], loss)
    with pytest.raises(ValueError, match="`x` must hold at least one sample"):
        flat_gradient(model, x[:0], y[:0], loss)
    with pytest.raises(ValueError, match=r"`loss` must return shape \(40, ...\)"):
        sample_losses(model, x, y, keras.losses.SparseCategoricalCrossentropy())
