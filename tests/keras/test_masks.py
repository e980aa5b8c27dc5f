from __future__ import annotations

import numpy as np
import pytest
import tensorflow as tf
from keras import Sequential, backend, layers, ops
from ted_keras import Mask
from ted_keras._session import find_mask
from ted_keras.masks import mask_gradient, pre_activation

import ted_core


@pytest.fixture
def logits():
    return np.random.default_rng(0).normal(scale=3, size=(9, 5))


LABELS = np.arange(9) % 5


def softmax(z):
    e = np.exp(z - z.max(axis=1, keepdims=True))
    return e / e.sum(axis=1, keepdims=True)


def number(tensor):
    return ops.convert_to_numpy(tensor)


def test_the_backend_under_test_is_tensorflow():
    assert backend.backend() == "tensorflow"


@pytest.mark.parametrize("shape", [(4,), (4, 3), (4, 3, 2), (0, 3)])
def test_values_are_the_cores(shape):
    h, g = np.random.default_rng(1).normal(size=(2, *shape))
    np.testing.assert_allclose(
        number(mask_gradient(h, g)), ted_core.mask_gradient(h, g), rtol=1e-12
    )


@pytest.mark.parametrize("kind", ["float16", "bfloat16"])
def test_half_precision_accumulates_in_float32(kind):
    ones = ops.ones((1, 3000), dtype=kind)
    for tensor in pre_activation(ones, ones):
        assert backend.standardize_dtype(tensor.dtype) == "float32"
    values = mask_gradient(ones, ones)
    assert backend.standardize_dtype(values.dtype) == "float32"
    assert number(values).tolist() == [3000.0]


def test_values_are_those_of_a_delta_multiplied_in(logits):
    z = tf.constant(logits)
    delta = tf.ones(9, tf.float64)
    with tf.GradientTape() as tape:
        tape.watch(delta)
        losses = tf.nn.sparse_softmax_cross_entropy_with_logits(
            LABELS, delta[:, None] * z
        )
    want = np.abs(tape.gradient(losses, delta))
    with tf.GradientTape() as tape:
        tape.watch(z)
        losses = tf.nn.sparse_softmax_cross_entropy_with_logits(LABELS, z)
    np.testing.assert_allclose(mask_gradient(z, tape.gradient(losses, z)), want)


def test_softmax_outputs_have_the_value_of_their_logits(logits):
    p = softmax(logits)
    g = -np.eye(5)[LABELS] / p
    # The mask on the probabilities themselves is the constant that it must not be.
    np.testing.assert_allclose(number(mask_gradient(p, g)), 1)
    want = ted_core.cross_entropy_mask_gradient(logits, LABELS)
    np.testing.assert_allclose(number(mask_gradient(*pre_activation(p, g))), want)


def test_sigmoid_outputs_have_the_value_of_their_logits(logits):
    p = 1 / (1 + np.exp(-logits))
    y = np.arange(45).reshape(9, 5) % 2
    g = (p - y) / (p * (1 - p))
    z, dz = pre_activation(p, g, activation="sigmoid")
    np.testing.assert_allclose(number(z), logits)
    np.testing.assert_allclose(number(dz), p - y)


def test_saturated_outputs_have_a_finite_value():
    p = np.array([[0.0, 1.0], [1.0, 0.0]])
    g = np.array([[0.0, -1.0], [3.0, 2.0]])
    for activation in ("softmax", "sigmoid"):
        values = number(mask_gradient(*pre_activation(p, g, activation=activation)))
        assert values.tolist() == [0.0, 0.0]


def test_both_trace_into_one_graph(logits):
    p = softmax(logits)
    g = -np.eye(5)[LABELS] / p
    traced = tf.function(lambda p, g: mask_gradient(*pre_activation(p, g)))
    np.testing.assert_allclose(
        traced(tf.constant(p), tf.constant(g)), mask_gradient(*pre_activation(p, g))
    )


def test_a_mask_is_found_in_inner_models_and_in_wrappers():
    mask = Mask()
    assert find_mask(Sequential([Sequential([mask])])) is mask
    wrapped = layers.TimeDistributed(Sequential([layers.Dense(2), mask]))
    assert find_mask(Sequential([wrapped, layers.Dense(2)])) is mask
    assert find_mask(Sequential([layers.Dense(2)])) is None
