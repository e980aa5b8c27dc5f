"""MirroredStrategy over two logical CPUs; TensorFlow only, in its own process."""

from __future__ import annotations

import keras
import numpy as np
import tensorflow as tf
from keras_checks.common import (
    EPOCHS,
    Seen,
    compiled,
    fit,
    fit_a_part,
    logits,
    network,
    samples,
    session,
)

from ted_core import cross_entropy_mask_gradient


def strategy():
    """Return a strategy of two replicas; the runner has split the CPU in two."""
    return tf.distribute.MirroredStrategy(["CPU:0", "CPU:1"])


def two_replicas_record_the_values_of_one():
    x, y = samples()
    for mask in (False, True):
        with strategy().scope():
            model = compiled(network(mask=mask), 0.0, metrics=["accuracy"])
        assert model.distribute_strategy.num_replicas_in_sync == 2
        ted = session(model)
        seen = Seen(ted)
        fit(ted, model, seen)
        steps = int(model.optimizer.iterations.value.values[0].numpy())
        assert steps == ted.total_steps == sum(seen.steps)
        if mask:
            single = compiled(network(mask=True), 0.0)
            single.set_weights(model.get_weights())
            other = session(single)
            fit(other, single)
            want = other.pruner.scores
        else:
            want = cross_entropy_mask_gradient(logits(model, x), y)
        np.testing.assert_allclose(ted.pruner.scores, want, rtol=2e-4, atol=2e-6)


def two_replicas_with_workers_repeat_and_lose_no_sample():
    with strategy().scope():
        model = compiled(network(), metrics=["accuracy"])
    ted = session(model, workers=2)
    seen = Seen(ted)
    fit(ted, model, seen)
    assert len(seen.steps) == EPOCHS
    assert sum(seen.steps) == ted.total_steps


def a_state_goes_from_two_replicas_to_one():
    class Stop(keras.callbacks.Callback):
        def on_epoch_end(self, epoch, logs=None):
            self.model.stop_training = epoch == 2

    with strategy().scope():
        model = compiled(network())
    ted = session(model)
    fit_a_part(ted, model, Stop())
    single = compiled(network())
    single.set_weights(model.get_weights())
    other, state = session(single), ted.state_dict()
    single.optimizer.iterations.assign(state["ted_keras.iterations"])
    other.load_state_dict(state)
    fit(other, single, initial_epoch=3)
    assert other.pruner.finished
    assert int(single.optimizer.iterations) == other.total_steps


CHECKS = (
    two_replicas_record_the_values_of_one,
    two_replicas_with_workers_repeat_and_lose_no_sample,
    a_state_goes_from_two_replicas_to_one,
)
