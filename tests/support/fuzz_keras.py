"""The public functions of the Keras adapter, and what they may be given."""

from __future__ import annotations

import keras
import numpy as np
from fuzz_states import bits
from fuzzing import judge_load, junk
from hypothesis import strategies as st
from keras import ops
from ted_keras import TED, Mask

__all__ = ["CASES", "judge_state", "part_way", "session", "things"]

X = np.random.default_rng(0).normal(size=(20, 5)).astype("float32")
Y = np.arange(20) % 3


def network():
    model = keras.Sequential(
        [keras.Input((5,)), keras.layers.Dense(4), Mask(), keras.layers.Dense(3)]
    )
    model.compile("sgd", keras.losses.SparseCategoricalCrossentropy(from_logits=True))
    return model


MODEL = network()
P = st.just(np.float32([[0.5, 0.25, 0.25], [1, 0, 0]])).map(ops.convert_to_tensor)


def tensors():
    """Draw tensors of other shapes and dtypes than asked for."""
    shapes = st.lists(st.integers(0, 4), max_size=3)
    kinds = st.sampled_from(["float32", "float64", "int64", "bool"])
    return st.builds(ops.ones, shapes, dtype=kinds)


def things():
    return st.one_of(junk(), tensors())


def made(**given):
    """Make a session, and take the first batch of its first epoch."""
    TED(given.pop("model"), given.pop("data"), **given).data[0]


CASES = {
    "TED": (
        made,
        {
            "model": st.just(MODEL),
            "data": st.just((X, Y)),
            "epochs": st.integers(2, 9),
            "batch_size": st.integers(1, 9),
            "n": st.sampled_from([None, 20]),
            "class_weight": st.sampled_from([None, {0: 2.0, 1: 1.0, 2: 1.0}]),
            "output": st.none(),
            "activation": st.sampled_from(["auto", "linear"]),
            "mask": st.none(),
            "multiple_of": st.sampled_from([None, 1, 2]),
            "backup": st.none(),
            "workers": st.just(1),
            "use_multiprocessing": st.just(False),  # noqa: FBT003
            "max_queue_size": st.just(10),
            "prune_ratio": st.floats(0, 0.9),
            "seed": st.integers(0, 9),
            "scale_loss": st.booleans(),
        },
    ),
}


def session(model=MODEL):
    return TED(model, (X, Y), epochs=6, batch_size=5, seed=3)


def part_way():
    """Give the state of a session in the middle of its third epoch."""
    model, states = network(), []
    ted = session(model)
    keep = keras.callbacks.LambdaCallback(
        on_train_batch_end=lambda *_, **__: states.append(ted.state_dict())
    )
    model.fit(ted.data, epochs=6, callbacks=[ted, keep], verbose=0)
    return next(state for state in states if state["epoch"] == 2)


def judge_state(ted, state):
    """Load; give "answer" if it went in whole, the error's name if nothing did."""
    return judge_load(ted, state, bits)
