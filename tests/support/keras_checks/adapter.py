"""The conformance suite's adapter around TED on Keras, one fit an epoch."""

from __future__ import annotations

import keras
import numpy as np
from keras_checks.common import fit_a_part
from ted_keras import TED

from ted_core.testing import CHECKS as CONFORMANCE


class Products(keras.losses.Loss):
    """A loss c + y z, whose mask gradient at z = 1 is y."""

    def __init__(self, constant=0.0):
        super().__init__()
        self.constant = constant

    def call(self, y_true, y_pred):
        return self.constant + y_true[:, 0] * y_pred[:, 0]


class Steps(keras.callbacks.Callback):
    """Stop the fit after an epoch, or after some of its steps."""

    def __init__(self, epoch, steps):
        super().__init__()
        self.epoch, self.steps, self.taken = epoch, steps, 0

    def on_train_batch_begin(self, batch, logs=None):
        self.model.reset_metrics()  # so that they are the step's alone

    def on_train_batch_end(self, batch, logs=None):
        self.taken += 1
        self.loss = logs["loss"]
        if self.taken == self.steps:
            self.model.stop_training = True

    def on_epoch_end(self, epoch, logs=None):
        self.model.stop_training = True


class KerasAdapter:
    """Sample k yields the value it is given, through Keras' own steps."""

    constant = 3.0

    def start(self, n, *, batch_size, **options):
        layer = keras.layers.Dense(1, use_bias=False, kernel_initializer="ones")
        self.model = keras.Sequential([keras.Input((1,)), layer])
        self.model.compile(
            keras.optimizers.SGD(0.0), Products(self.constant), run_eagerly=True
        )
        self.values, self.asked = np.zeros(n, np.float32), []
        options = {"multiple_of": 1, **options}
        self.ted = TED(self.model, self.fetch, n=n, batch_size=batch_size, **options)

    def fetch(self, ids):
        self.asked.append(ids)
        return np.ones((ids.size, 1), np.float32), self.values[ids, None]

    def run_epoch(self, epoch, values, *, steps=None):
        self.values = values
        stop = Steps(epoch, steps)

        class Begin(keras.callbacks.Callback):
            def on_epoch_begin(_, epoch, logs=None):  # noqa: N805 - the outer self
                self.asked = []

        fit_a_part(self.ted, self.model, Begin(), stop, initial_epoch=epoch)
        trained = self.asked[: stop.taken]
        self.scale = stop.loss / (self.constant + values[trained[-1]]).mean()
        return trained

    def finish(self):
        """Have nothing to do: the last epoch closes with its fit."""

    def total_steps(self):
        return self.ted.total_steps

    def loss_scale(self):
        return self.scale

    def save(self):
        return self.ted.state_dict()

    def restore(self, saved):
        self.ted.load_state_dict(saved)
        self.model.optimizer.iterations.assign(saved["ted_keras.iterations"])

    def core_state(self):
        return self.ted.pruner.state_dict()


class RankedByLoss(KerasAdapter):
    """The value itself is the loss."""

    constant = 0.0


def _conforms(check):
    def run():
        check(KerasAdapter)

    run.__name__ = check.__name__
    return run


CHECKS = tuple(_conforms(check) for check in CONFORMANCE.values())
