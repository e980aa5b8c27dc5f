"""Weights of tokens and pixels, mixed samples, and steps of the model's own."""

from __future__ import annotations

from importlib import import_module

import keras
import numpy as np
from hypothesis import Phase, given, settings
from hypothesis import strategies as st
from keras_checks.common import (
    N,
    compiled,
    cross_entropy,
    fit,
    logits,
    number,
    reads_the_plan,
    samples,
    session,
    softmax,
)
from keras_checks.inputs import nested
from ted_keras import Mask

from ted_core import cross_entropy_mask_gradient

CLOSE = {"rtol": 5e-4, "atol": 5e-6}


def classifier(shape, *, mask):
    """Return a network that classifies each vector of samples of a shape."""
    layers = [keras.Input((*shape, 4)), keras.layers.Dense(5, activation="tanh")]
    layers += [Mask()] if mask else []
    return keras.Sequential([*layers, keras.layers.Dense(3, name="last")])


def gradients(model, x, targets, *, mask):
    """Return logits and, at the output or the mask, each vector's <h, dl/dh>."""
    z = logits(model, x)
    g = softmax(z) - targets
    if not mask:
        return z, (z * g).sum(axis=-1)
    hidden = number(model.layers[0](x)).astype("float64")
    return z, (hidden * (g @ model.layers[-1].get_weights()[0].T)).sum(axis=-1)


CASES = st.fixed_dictionaries(
    {
        "mask": st.booleans(),
        "shape": st.sampled_from([(3,), (2, 3)]),
        "axes": st.integers(1, 3),
        "reduction": st.sampled_from(["sum", "sum_over_batch_size"]),
        "ignored": st.sampled_from([None, 2]),
        "signal": st.sampled_from(["mask_gradient", "mask_gradient", "loss"]),
    }
)


@settings(max_examples=6, deadline=None, derandomize=True, phases=[Phase.generate])
@given(seed=st.integers(0, 99), case=CASES)
def weights_of_elements_weigh_within_their_samples(seed, case):
    rng = np.random.default_rng(seed)
    shape, mask, ignored = case["shape"], case["mask"], case["ignored"]
    n, axes = 16, min(case["axes"], 1 + len(shape))
    x = rng.normal(size=(n, *shape, 4)).astype("float32")
    y = rng.integers(0, 3, size=(n, *shape))
    w = rng.choice([0, 0.25, 1, 3], size=(n, *shape)[:axes]).astype("float32")
    w[:4] = np.maximum(w[:4], 0.5)
    keras.utils.set_random_seed(1)
    loss = cross_entropy(ignore_class=ignored, reduction=case["reduction"])
    model = compiled(classifier(shape, mask=mask), 0.0, loss=loss, run_eagerly=True)
    options = {"epochs": 2, "batch_size": n, "prune_ratio": 0.0}
    ted = session(model, (x, y, w), signal=case["signal"], **options)
    # Keras' own evaluation wants a weight for each element.
    within = np.broadcast_to(w.reshape(w.shape + (1,) * (y.ndim - axes)), y.shape)
    history = fit(ted, model, validation_data=(x, y, within)).history
    np.testing.assert_allclose(history["loss"][0], history["val_loss"][0], rtol=1e-5)

    z, values = gradients(model, x, np.eye(3)[y], mask=mask)
    if case["signal"] == "loss":
        values = -np.log(np.take_along_axis(softmax(z), y[..., None], -1))[..., 0]
    counts = np.ones_like(y) if ignored is None else y != ignored
    heavy = (within * counts).reshape(n, -1).sum(axis=1)
    total = (within * counts * values).reshape(n, -1).sum(axis=1)
    want = np.abs(np.divide(total, heavy, out=np.full(n, np.nan), where=heavy > 0))
    np.testing.assert_allclose(ted.pruner.scores, want, **CLOSE)
    assert ted.report().weightless[0] == (heavy == 0).sum()


def mean_of_weighed(x=None, y=None, y_pred=None, sample_weight=None, **options):
    losses = keras.losses.sparse_categorical_crossentropy(y, y_pred, from_logits=True)
    weighed = losses if sample_weight is None else losses * sample_weight
    return keras.ops.mean(weighed)


def a_loss_of_the_models_own_gets_the_weights_of_elements():
    rng = np.random.default_rng(0)
    x = rng.normal(size=(16, 3, 4)).astype("float32")
    y = rng.integers(0, 3, size=(16, 3))
    w = rng.choice([0.25, 1, 3], size=(16, 3)).astype("float32")
    for mask in (False, True):
        found = []
        for own in (None, mean_of_weighed):
            keras.utils.set_random_seed(1)
            model = compiled(classifier((3,), mask=mask), 0.0)
            if own is not None:
                model.compute_loss = own
            ted = session(model, (x, y, w), epochs=2, prune_ratio=0.0)
            fit(ted, model)
            found.append(ted.pruner.scores)
        np.testing.assert_allclose(*found, **CLOSE)


def weights_of_each_target_go_to_its_loss():
    rng = np.random.default_rng(0)
    model, (x, y) = nested()
    w = {name: rng.choice([0, 1, 2.5], size=N).astype("float32") for name in y}
    ted = session(model, (x, y, w), output="kind")
    history = fit(ted, model, validation_data=(x, y, w)).history
    for name in ("loss", "size_mse"):
        np.testing.assert_allclose(history[name][0], history[f"val_{name}"][0], 1e-4)
    want = cross_entropy_mask_gradient(logits_of_kind(model, x), y["kind"])
    want[w["kind"] == 0] = np.nan
    np.testing.assert_allclose(ted.pruner.scores, want, **CLOSE)


def logits_of_kind(model, x):
    return model.predict(x, verbose=0)["kind"].astype("float64")


def outputs_of_other_axes_get_the_weights_of_their_samples():
    rng = np.random.default_rng(0)
    x = rng.normal(size=(N, 3, 4)).astype("float32")
    keras.utils.set_random_seed(1)
    inputs = keras.Input((3, 4))
    # Not in alphabetical order, in which Keras goes through a dict.
    outputs = {
        "tokens": keras.layers.Dense(3, name="tokens")(inputs),
        "all": keras.layers.Dense(1, name="all")(keras.layers.Flatten()(inputs)),
    }
    model = keras.Model(inputs, outputs)
    model.compile(keras.optimizers.SGD(0.0), {"tokens": cross_entropy(), "all": "mse"})
    y = {"tokens": rng.integers(0, 3, size=(N, 3)), "all": x[:, 0, :1]}
    w = rng.uniform(0.5, 2, N).astype("float32")
    each = rng.uniform(0.5, 2, (N, 3)).astype("float32")
    for weights in (w, {"all": w, "tokens": each}):
        ted = session(model, (x, y, weights), output="tokens")
        history = fit(ted, model).history
        # Keras' own evaluation takes one array for all outputs of its axes alone.
        wide = (
            weights if isinstance(weights, dict) else {"all": w, "tokens": w[:, None]}
        )
        wide["tokens"] = np.broadcast_to(wide["tokens"], (N, 3))
        found = model.evaluate(x, y, sample_weight=wide, verbose=0)
        np.testing.assert_allclose(history["loss"][0], found[0], 1e-4)


PARTNERS = (np.arange(N) * 7 + 3) % N
SHARES = np.random.default_rng(8).choice([0.25, 0.5, 0.75, 1], size=N)
SHARES = SHARES.astype("float32")


def mixed(ids):
    """Return a batch of mixed samples, each of two, with what went into it."""
    x, y = samples()
    other, share = PARTNERS[ids], SHARES[ids][:, None]
    hot = np.eye(3, dtype="float32")[y]
    inputs, targets = (share * z[ids] + (1 - share) * z[other] for z in (x, hot))
    return inputs, targets, None, [(ids, share[:, 0]), (other, 1 - share[:, 0])]


def a_mixed_samples_value_goes_to_all_of_its_parts():
    x, targets, _, pairs = mixed(np.arange(N))
    for mask in (False, True):
        keras.utils.set_random_seed(1)
        loss = keras.losses.CategoricalCrossentropy(from_logits=True)
        model = compiled(classifier((), mask=mask), 0.0, loss=loss)
        ted = session(model, mixed, n=N, epochs=2, prune_ratio=0.0)
        found = []

        class Note(keras.callbacks.Callback):
            def on_epoch_end(self, epoch, logs=None, ted=ted, found=found):
                found.append(ted.pruner.scores)

        fit(ted, model, Note())
        values = np.abs(gradients(model, x, targets, mask=mask)[1])
        sums, weights = np.zeros(N), np.zeros(N)
        for part, share in pairs:
            np.add.at(sums, part, share * values)
            np.add.at(weights, part, share)
        assert weights.max() > 1 > weights.min() > 0
        np.testing.assert_allclose(found[0], sums / weights, **CLOSE)
        assert ted.savings().forwarded == 2 * N


class OwnStep(keras.Model):
    """A model whose step is its own, written for the backend in use."""

    def __init__(self):
        super().__init__()
        self.last = keras.layers.Dense(3)

    def call(self, x, training=None):
        return self.last(x)

    def train_step(self, *arguments):
        return own_step(self, *arguments)

    def loss_and_updates(self, trainable, others, x, y, weights):
        """Return what JAX takes the gradient of."""
        y_pred, others = self.stateless_call(trainable, others, x, training=True)
        return self.compute_loss(x, y, y_pred, weights), others


def _step_of_tensorflow(model, data):
    x, y, weights = data
    with import_module("tensorflow").GradientTape() as tape:
        total = model.compute_loss(x, y, model(x, training=True), weights)
    variables = model.trainable_variables
    model.optimizer.apply(tape.gradient(total, variables), variables)
    return {"loss": total}


def _step_of_torch(model, data):
    x, y, weights = data
    model.zero_grad()
    total = model.compute_loss(x, y, model(x, training=True), weights)
    total.backward()
    variables = model.trainable_weights
    with import_module("torch").no_grad():
        model.optimizer.apply([v.value.grad for v in variables], variables)
    return {"loss": total}


def _step_of_jax(model, state, data):
    trainable, others, optimizer, metrics = state
    graded = import_module("jax").value_and_grad(model.loss_and_updates, has_aux=True)
    (total, others), grads = graded(trainable, others, *data)
    trainable, optimizer = model.optimizer.stateless_apply(optimizer, grads, trainable)
    return {"loss": total}, (trainable, others, optimizer, metrics)


STEPS = {
    "tensorflow": _step_of_tensorflow,
    "torch": _step_of_torch,
    "jax": _step_of_jax,
}
own_step = STEPS[keras.backend.backend()]


class KerasStep(OwnStep):
    train_step = keras.Model.train_step


def a_step_of_the_models_own_trains_as_that_of_keras():
    found = []
    for kind in (KerasStep, OwnStep):
        keras.utils.set_random_seed(1)
        model = kind()
        model(samples()[0])
        compiled(model)
        ted = session(model)
        fit(ted, model)
        assert int(model.optimizer.iterations) == ted.total_steps
        found.append([ted.pruner.scores, *model.get_weights()])
    for one, other in zip(*found, strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-5, atol=1e-6)


def a_step_of_the_models_own_reads_the_plan_and_its_rate_ends_with_it():
    reads_the_plan(OwnStep())


CHECKS = (
    weights_of_elements_weigh_within_their_samples,
    a_loss_of_the_models_own_gets_the_weights_of_elements,
    weights_of_each_target_go_to_its_loss,
    outputs_of_other_axes_get_the_weights_of_their_samples,
    a_mixed_samples_value_goes_to_all_of_its_parts,
    a_step_of_the_models_own_trains_as_that_of_keras,
    a_step_of_the_models_own_reads_the_plan_and_its_rate_ends_with_it,
)
