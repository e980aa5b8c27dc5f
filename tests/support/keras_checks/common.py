"""What the checks of the Keras adapter share; they run on every backend."""

from __future__ import annotations

import warnings

import keras
import numpy as np
from ted_keras import TED, Mask

N, BATCH, EPOCHS = 64, 8, 6
RUN = {"epochs": EPOCHS, "batch_size": BATCH, "prune_ratio": 0.7, "multiple_of": 1}


def samples(n=N, width=4):
    rng = np.random.default_rng(3)
    x = rng.normal(size=(n, width)).astype("float32")
    y = (x[:, 0] > 0).astype("int64") + (x[:, 1] > 0.3)
    return x, y


def network(*, activation=None, mask=False, seed=1, units=3):
    """Return a small network with the same weights for the same seed."""
    keras.utils.set_random_seed(seed)
    layers = [keras.Input((4,)), keras.layers.Dense(6, activation="tanh")]
    if mask:
        layers.append(Mask(name="site"))
    layers.append(keras.layers.Dense(units, activation=activation, name="last"))
    return keras.Sequential(layers)


def cross_entropy(**options):
    return keras.losses.SparseCategoricalCrossentropy(from_logits=True, **options)


def compiled(model, rate=0.1, loss=None, **options):
    loss = cross_entropy() if loss is None else loss
    model.compile(keras.optimizers.SGD(rate), loss, **options)
    return model


def fit(ted, model, *callbacks, **options):
    options = {"verbose": 0, "epochs": ted.pruner.epochs, **options}
    return model.fit(ted.data, callbacks=[ted, *callbacks], **options)


def fit_a_part(ted, model, *callbacks, **options):
    """Fit with callbacks that end it early, of which the session warns."""
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always", UserWarning)
        history = fit(ted, model, *callbacks, **options)
    said = [str(one.message) for one in caught]
    assert len(said) == (not ted.pruner.finished), said
    assert all("epochs as planned, got" in one for one in said), said
    return history


def number(tensor):
    return keras.ops.convert_to_numpy(tensor)


def weights(model):
    return [np.array(w) for w in model.get_weights()]


def logits(model, x):
    return number(model(x, training=False)).astype("float64")


def softmax(z):
    e = np.exp(z - z.max(axis=-1, keepdims=True))
    return e / e.sum(axis=-1, keepdims=True)


def trace_of(model):
    """Return what a session could leave on a model."""
    left = set(model.__dict__) & {"compute_loss", "compute_metrics"}
    names = {name for name in model.__dict__ if "ted" in name.lower()}
    return left | (names - {"_is_quantized", "built", "_compiled_trainable_state"})


class Subclassed(keras.Model):
    """A model that nobody has built, with an inner site that no list names."""

    def __init__(self):
        super().__init__()
        self.first = keras.layers.Dense(6, activation="tanh")
        self.site = Mask()
        self.last = keras.layers.Dense(3)

    def call(self, x):
        return self.last(self.site(self.first(x)))


def reads_the_plan(model):
    """Train on a function of ids; hold its calls and the last rate against the plan.

    Keras shuffles the batches, which must come in the planned order all the same.
    """
    x, y = samples()
    asked, orders = [[]], []

    class Plan(keras.callbacks.Callback):
        def on_epoch_begin(self, epoch, logs=None):
            orders.append(ted.pruner.plan().order.tolist())
            asked.append([])

    def fetch(ids):
        asked[-1].extend(ids.tolist())
        return x[ids], y[ids]

    ted = session(model, fetch, n=N)
    decay = keras.optimizers.schedules.CosineDecay(0.1, ted.total_steps)
    compiled(model, decay)
    fit(ted, model, Plan(), shuffle=True)
    assert asked[1:] == orders
    assert sum(map(len, orders)) == ted.savings().forwarded < N * EPOCHS
    assert int(model.optimizer.iterations) == ted.total_steps
    assert abs(float(number(model.optimizer.learning_rate))) < 1e-7


class Seen(keras.callbacks.Callback):
    """Note what each epoch trained on, and what it was planned to."""

    def __init__(self, ted):
        super().__init__()
        self.ted, self.kept, self.steps, self.batches = ted, [], [], 0

    def on_epoch_begin(self, epoch, logs=None):
        self.kept.append(self.ted.pruner.plan().kept.tolist())
        self.batches = 0

    def on_train_batch_end(self, batch, logs=None):
        self.batches = batch + 1

    def on_epoch_end(self, epoch, logs=None):
        self.steps.append(self.batches)


class KillAfter(keras.callbacks.Callback):
    """Break off at the end of an epoch, or in its middle."""

    def __init__(self, epoch, batch=None):
        super().__init__()
        self.at, self.batch, self.here = epoch, batch, 0

    def on_epoch_begin(self, epoch, logs=None):
        self.here = epoch

    def on_train_batch_end(self, batch, logs=None):
        if self.here == self.at and self.batch is not None and batch >= self.batch:
            raise KilledError

    def on_epoch_end(self, epoch, logs=None):
        if epoch == self.at and self.batch is None:
            raise KilledError


class KilledError(Exception):
    """The training was killed."""


def session(model, data=None, **options):
    options = {**RUN, **options}
    if keras.backend.backend() == "jax":  # each shape of a batch is compiled
        options["multiple_of"] = options["batch_size"]
    return TED(model, samples() if data is None else data, **options)
