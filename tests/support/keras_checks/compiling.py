"""The step is compiled once for each batch shape, of which a run has two."""

from __future__ import annotations

import keras
import numpy as np
from keras_checks.common import (
    RUN,
    N,
    compiled,
    cross_entropy,
    fit,
    logits,
    network,
    samples,
    session,
)
from ted_keras import TED

from ted_core import TedWarning, cross_entropy_mask_gradient


class Counting(keras.Sequential):
    """Counts how often Python runs through its training step."""

    traced = 0

    def train_step(self, *args):
        Counting.traced += 1
        return super().train_step(*args)


def counting():
    keras.utils.set_random_seed(1)
    Counting.traced = 0
    return Counting([keras.Input((4,)), keras.layers.Dense(3)])


def a_run_compiles_two_shapes_at_most():
    x, y = samples()
    n = N - 3  # the last batch of all data is a short one
    model = counting()
    options = {k: v for k, v in RUN.items() if k != "multiple_of"}
    shapes = set()

    def fetch(ids):
        shapes.add(len(ids))
        return x[ids], y[ids]

    model.compile("sgd", cross_entropy(), jit_compile=True)
    ted = TED(model, fetch, n=n, **options)
    fit(ted, model)
    assert len(shapes) == 2
    assert 1 <= Counting.traced <= 2
    assert ted.pruner.config.multiple_of == RUN["batch_size"]
    assert int(model.optimizer.iterations) == ted.total_steps


def a_run_without_a_compiler_is_traced_once():
    model = counting()
    model.compile("sgd", cross_entropy())
    ted = session(model)
    fit(ted, model)
    assert Counting.traced <= 2


def a_compiled_step_records_the_same_values():
    x, y = samples()
    for mask in (False, True):
        model = network(mask=mask)
        model.compile(keras.optimizers.SGD(0.0), cross_entropy(), jit_compile=True)
        ted = session(model, multiple_of=RUN["batch_size"])
        fit(ted, model)
        if not mask:
            want = cross_entropy_mask_gradient(logits(model, x), y)
            np.testing.assert_allclose(ted.pruner.scores, want, rtol=2e-4, atol=2e-6)
        assert np.isfinite(ted.pruner.scores).all()


def several_steps_in_one_execution():
    model = compiled(network(), steps_per_execution=3)
    ted = session(model, multiple_of=RUN["batch_size"])
    fit(ted, model)
    assert int(model.optimizer.iterations) == ted.total_steps
    one = compiled(network())
    other = session(one, multiple_of=RUN["batch_size"])
    fit(other, one)
    np.testing.assert_allclose(ted.pruner.scores, other.pruner.scores, rtol=1e-5)


def many_shapes_under_a_compiler_warn():
    model = network()
    model.compile("sgd", cross_entropy(), jit_compile=True)
    ted = TED(model, samples(), **RUN)
    try:
        with ted:
            fit(ted, model)
    except TedWarning as warning:
        assert "multiple_of=8" in str(warning)  # noqa: PT017 - no pytest in here
    else:
        raise AssertionError


CHECKS = (
    a_run_compiles_two_shapes_at_most,
    a_run_without_a_compiler_is_traced_once,
    a_compiled_step_records_the_same_values,
    several_steps_in_one_execution,
    many_shapes_under_a_compiler_warn,
)
