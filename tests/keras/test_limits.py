"""Limits that Keras sets, or that only a whole fit shows."""

from __future__ import annotations

import pickle
import sys
from pathlib import Path

import keras
import numpy as np
import pytest
from keras import backend
from keras_checks.adapter import Products
from keras_checks.common import N, compiled, fit, logits, network, samples, session
from ted_keras import Mask
from ted_keras._backends import adapt

from ted_core import EpochError, signals

X, Y = samples()


def test_a_mask_on_the_input_does_not_fire_and_the_first_epoch_says_so():
    model = keras.Sequential([keras.Input((4,)), Mask(), keras.layers.Dense(3)])
    ted = session(compiled(model))
    with pytest.raises(EpochError, match="got none in epoch 0; a Mask where no"), ted:
        fit(ted, model)
    assert ted.epoch == 0


@pytest.mark.parametrize(
    ("option", "said"),
    [
        ({"class_weight": {0: 2.0}}, "class_weight"),
        ({"validation_split": 0.5}, "validation_split"),
        ({"sample_weight": np.ones(N)}, "sample_weight"),
        ({"y": Y}, "`y` should not be passed"),
    ],
)
def test_keras_refuses_what_must_be_given_to_the_session(option, said):
    model = compiled(network())
    ted = session(model)
    with pytest.raises(ValueError, match=said), ted:
        fit(ted, model, **option)
    assert "compute_loss" not in model.__dict__


def test_the_batch_size_is_the_sessions():
    model = compiled(network())
    ted = session(model)
    fit(ted, model, batch_size=1)
    assert int(model.optimizer.iterations) == ted.total_steps


@pytest.mark.parametrize("shuffled", [True, False])
def test_workers_read_in_the_planned_order_if_keras_does_not_shuffle(shuffled):
    seen, planned = [], []

    class Labels(keras.losses.Loss):
        def call(self, y_true, y_pred):
            found = keras.ops.convert_to_numpy(y_true)[:, 0].astype(int).tolist()
            if seen[-1:] != [found]:
                seen.append(found)
            return keras.ops.mean(y_pred, axis=-1)

    class Order(keras.callbacks.Callback):
        def on_epoch_begin(self, epoch, logs=None):
            planned.extend(ted.pruner.plan().order.tolist())

    model = compiled(network(), loss=Labels(), run_eagerly=True)
    ids = np.arange(N, dtype="float32")[:, None]
    ted = session(model, (X, ids), workers=2, signal="loss")
    fit(ted, model, Order(), shuffle=shuffled)
    order = [k for batch in seen for k in batch]
    assert (order == planned) is not shuffled
    assert sorted(order) == sorted(planned)


@pytest.mark.parametrize(
    ("signal", "made", "said"),
    [
        ("grand", {}, r"must have a `ted_keras\.Mask\(\)` before its head"),
        (
            "el2n",
            {"activation": "sigmoid"},
            "`signal='el2n'` needs an output of classes.*, got sigmoids",
        ),
        (
            "margin",
            {"units": 1},
            "needs an output of classes, .* got one of shape .*; take method='ted'",
        ),
        (
            "el2n",
            {"units": 1},
            "needs an output of classes, .* got one of shape .*; take method='ted'",
        ),
        (
            "grand",
            {"units": 1, "mask": True},
            "needs an output of classes, .* got one of shape .*; take method='ted'",
        ),
        (
            "least_confidence",
            {"units": 1},
            "needs an output of classes, .* got one of shape .*; take method='ted'",
        ),
        (
            "forgetting",
            {"units": 1},
            "needs an output of classes, .* got one of shape .*; take method='ted'",
        ),
    ],
)
def test_a_signal_that_the_model_cannot_give_is_refused(signal, made, said):
    target = np.ones((N, made.get("units", 3)), "float32")
    model = compiled(network(**made), loss="mse")
    ted = session(model, (X, target), signal=signal)
    with pytest.raises(ValueError, match=said), ted:
        fit(ted, model)
    assert "compute_loss" not in model.__dict__


def test_another_backend_is_refused(monkeypatch):
    monkeypatch.setattr(backend, "backend", lambda: "numpy")
    with pytest.raises(ValueError, match=r"must be one of .* got 'numpy'"):
        adapt()


def test_ids_that_one_half_of_a_column_cannot_hold_arrive_whole():
    n = 70_000
    layer = keras.layers.Dense(1, use_bias=False, kernel_initializer="ones")
    model = keras.Sequential([keras.Input((1,)), layer])
    model.compile(keras.optimizers.SGD(0.0), Products())
    values = np.arange(n, dtype="float32")
    data = np.ones((n, 1), "float32"), values[:, None]
    ted = session(model, data, batch_size=7000)
    fit(ted, model)
    np.testing.assert_allclose(ted.pruner.scores, values, rtol=1e-6)


def test_grand_knows_a_head_without_a_bias():
    layers = [keras.Input((4,)), Mask(), keras.layers.Dense(3, use_bias=False)]
    model = compiled(keras.Sequential(layers), 0.0)
    ted = session(model, signal="grand")
    fit(ted, model)
    want = signals.grand(logits(model, X), Y, X.astype("float64"), bias=False)
    np.testing.assert_allclose(ted.pruner.scores, want, rtol=2e-4)


def test_a_session_is_made_in_few_files():
    files, model = set(), compiled(network())

    def note(frame, event, _):
        path = Path(frame.f_code.co_filename)
        if event == "call" and {"ted_core", "ted_keras"} & set(path.parts):
            files.add(path)

    sys.setprofile(note)
    try:
        session(model)
    finally:
        sys.setprofile(None)
    assert len(files) <= 15, sorted(path.name for path in files)


def test_data_go_to_a_process_that_shares_no_memory():
    ted = session(compiled(network()))
    ids = ted.pruner.plan().order[:8]
    assert int(ted.data.num_batches) == N / 8
    x, y, columns = pickle.loads(pickle.dumps(ted.data))[0]  # noqa: S301
    np.testing.assert_array_equal(x, X[ids])
    np.testing.assert_array_equal(y, Y[ids])
    np.testing.assert_array_equal(columns["ted"], ted.data[0][2]["ted"])
