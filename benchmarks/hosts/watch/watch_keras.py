"""Watch a Keras training on TensorFlow: samples, steps, rate, final weights."""

from __future__ import annotations

import keras
import numpy as np
import tensorflow as tf


def watch(killed_after):
    """Count rows in the compiled step, and return what makes the account."""
    keras.utils.set_random_seed(0)
    samples = tf.Variable(0, dtype=tf.int64, trainable=False)
    depth, steps, models = 0, 0, []
    call, fit = keras.layers.Layer.__call__, keras.Model.fit

    def counted(layer, *args, **kwargs):
        nonlocal depth
        trained = depth == 0 and models and kwargs.get("training")
        if trained and isinstance(layer, keras.Model):
            first = tf.nest.flatten(args[0])[0]
            samples.assign_add(tf.shape(first, out_type=tf.int64)[0])
        depth += 1
        try:
            return call(layer, *args, **kwargs)
        finally:
            depth -= 1

    class Steps(keras.callbacks.Callback):
        def on_train_batch_end(self, *_, **__):
            nonlocal steps
            steps += 1
            killed_after(steps)

    def watched(model, *args, callbacks=(), **kwargs):
        models[:] = [model]
        return fit(model, *args, callbacks=[*callbacks, Steps()], **kwargs)

    keras.layers.Layer.__call__, keras.Model.fit = counted, watched
    return lambda: {
        "forwarded": int(samples),
        "steps": steps,
        "rate": [float(np.asarray(model.optimizer.learning_rate)) for model in models],
        "weights": models[0].get_weights() if models else [],
    }
