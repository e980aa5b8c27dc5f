"""Data of every form, and the settings of Keras that a step meets."""

from __future__ import annotations

import keras
import numpy as np
from keras_checks.common import (
    BATCH,
    EPOCHS,
    N,
    compiled,
    cross_entropy,
    fit,
    logits,
    network,
    samples,
    session,
)

from ted_core import cross_entropy_mask_gradient


def nested():
    """Return a model of two named inputs with two outputs, and data for it."""
    x, y = samples()
    keras.utils.set_random_seed(1)
    left, right = keras.Input((2,), name="left"), keras.Input((2,), name="right")
    hidden = keras.layers.Concatenate()([left, right])
    outputs = {
        "kind": keras.layers.Dense(3, name="kind")(hidden),
        "size": keras.layers.Dense(1, name="size")(hidden),
    }
    model = keras.Model({"left": left, "right": right}, outputs)
    model.compile(
        keras.optimizers.SGD(0.0),
        {"kind": cross_entropy(), "size": "mse"},
        weighted_metrics={"size": ["mse"]},
    )
    data = {"left": x[:, :2], "right": x[:, 2:]}, {"kind": y, "size": x[:, 3:]}
    return model, data


def nested_arrays_with_weights():
    model, (x, y) = nested()
    w = np.linspace(0.1, 2, N).astype("float32")
    ted = session(model, (x, y, w), output="kind")
    history = fit(ted, model, validation_data=(x, y, w)).history
    z = model.predict(x, verbose=0)
    np.testing.assert_allclose(
        ted.pruner.scores,
        cross_entropy_mask_gradient(z["kind"].astype("float64"), y["kind"]),
        rtol=2e-4,
        atol=2e-6,
    )
    # Full data at scale 1: what TED reports is what Keras' own evaluation reports.
    for name in ("loss", "size_mse"):
        np.testing.assert_allclose(history[name][0], history[f"val_{name}"][0], 1e-4)
    for epoch in range(EPOCHS):
        kept = ted.pruner.schedule_table()["kept"][epoch]
        assert 0 < kept <= N


def a_function_of_ids_gives_the_same_run_as_arrays():
    x, y = samples()
    states = []
    for data, n in (((x, y), None), (lambda ids: (x[ids], y[ids]), N)):
        model = compiled(network())
        ted = session(model, data, n=n)
        fit(ted, model)
        states.append(ted.state_dict())
    for name, value in states[0].items():
        np.testing.assert_array_equal(value, states[1][name], err_msg=name)


def class_weights_are_sample_weights():
    x, y = samples()
    table = {0: 0.5, 2: 2.0}
    w = np.array([table.get(int(k), 1.0) for k in y], "float32")
    found = []
    for data, options in (
        ((x, y, w), {}),
        ((x, y), {"class_weight": table}),
        ((x, y[:, None]), {"class_weight": table}),
    ):
        model = compiled(network(), weighted_metrics=["accuracy"])
        ted = session(model, data, **options)
        found.append((fit(ted, model).history, model.get_weights()))
    smooth = 0.9 * np.eye(3, dtype="float32")[y] + 0.1 / 3
    for targets in (smooth.round(), smooth):
        same = session(network(), (x, targets), class_weight=table)
        np.testing.assert_array_equal(same.data.source(np.arange(N))[2], w)
    for history, made in found[1:]:
        for name, values in history.items():
            np.testing.assert_allclose(values, found[0][0][name], rtol=1e-5)
        for one, other in zip(made, found[0][1], strict=True):
            np.testing.assert_allclose(one, other, rtol=1e-5, atol=1e-6)


def a_weight_of_zero_is_no_observation():
    x, y = samples()
    w = np.ones(N, "float32")
    w[::4] = 0
    for mask in (False, True):
        model = compiled(network(mask=mask), 0.0)
        ted = session(model, (x, y, w))
        fit(ted, model)
        assert np.isnan(ted.pruner.scores[::4]).all()
        rest = ted.pruner.scores[w > 0]
        assert np.isfinite(rest).all()


def half_precision_records_the_values_of_single():
    x, y = samples()
    backend = keras.backend.backend()
    policy = "mixed_float16" if backend == "tensorflow" else "mixed_bfloat16"
    for mask in (False, True):
        keras.config.set_dtype_policy(policy)
        try:
            model = compiled(network(mask=mask), 0.0)
        finally:
            keras.config.set_dtype_policy("float32")
        scaled = type(model.optimizer).__name__ == "LossScaleOptimizer"
        assert scaled == (backend == "tensorflow")
        ted = session(model)
        fit(ted, model)
        want = cross_entropy_mask_gradient(logits(model, x), y)
        if mask:
            single = compiled(network(mask=True), 0.0)
            other = session(single)
            fit(other, single)
            want = other.pruner.scores
        np.testing.assert_allclose(ted.pruner.scores, want, rtol=0.2, atol=0.02)


def steps_that_run_eagerly():
    x, y = samples()
    model = compiled(network(), 0.0, run_eagerly=True)
    ted = session(model)
    fit(ted, model)
    want = cross_entropy_mask_gradient(logits(model, x), y)
    np.testing.assert_allclose(ted.pruner.scores, want, rtol=2e-4, atol=2e-6)
    assert ted.data.batch_size == BATCH


CHECKS = (
    nested_arrays_with_weights,
    a_function_of_ids_gives_the_same_run_as_arrays,
    class_weights_are_sample_weights,
    a_weight_of_zero_is_no_observation,
    half_precision_records_the_values_of_single,
    steps_that_run_eagerly,
)
