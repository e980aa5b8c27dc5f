"""Any signal is one argument: its values are the core's."""

from __future__ import annotations

import numpy as np
from keras_checks.common import (
    EPOCHS,
    N,
    compiled,
    cross_entropy,
    fit,
    logits,
    network,
    number,
    samples,
    session,
    softmax,
)
from keras_checks.values import CLOSE, scores_of

from ted_core import Random, signals


def losses_as_the_signal():
    x, y = samples()
    model = network()
    found = scores_of(model, signal="loss")
    want = -np.log(softmax(logits(model, x)))[np.arange(N), y]
    np.testing.assert_allclose(found, want, **CLOSE)


def every_signal_of_classes():
    x, y = samples()
    hot = np.eye(3, dtype="float32")[y]
    for activation, target, loss in (
        (None, y, cross_entropy()),
        ("softmax", hot, "categorical_crossentropy"),
    ):
        for name, needs in signals.INPUTS.items():
            if name in {"mask_gradient", "loss"}:
                continue
            model = network(activation=activation, mask=True)
            found = scores_of(model, (x, target), signal=name, compile={"loss": loss})
            made = logits(model, x)
            hidden = number(model.layers[0](x)).astype("float64")
            inputs = {
                "logits": made if activation is None else np.log(made),
                "labels": y,
                "hidden": hidden,
            }
            want = signals.compute(name, **{one: inputs[one] for one in needs})
            if name == "forgetting":
                want = np.where(want == 1, 0, np.finfo(np.float32).max)
            np.testing.assert_allclose(found, want, **CLOSE, err_msg=name)


def a_signal_that_does_not_fit_the_output_is_refused():
    x, y = samples()
    one = network(units=1, activation="sigmoid"), (x, y[:, None] > 0), "el2n"
    for (model, data, signal), said in (
        (one, "`signal='el2n'` needs an output of classes, shape (B, C), got"),
        ((network(), (x, y), "grand"), "`model` must have a `ted_keras.Mask()`"),
    ):
        losses = "binary_crossentropy" if data[1].dtype == bool else None
        ted = session(compiled(model, loss=losses), data, signal=signal)
        try:
            with ted:
                fit(ted, model)
        except ValueError as error:
            assert said in str(error), error  # noqa: PT017 - no pytest in here
        else:
            raise AssertionError(signal)


def a_strategy_that_ranks_nothing_is_counted():
    model = compiled(network())
    ted = session(model, strategy=Random())
    fit(ted, model)
    assert ted.savings().forwarded == ted.savings().planned < EPOCHS * N
    assert np.isfinite(ted.pruner.scores).all()


CHECKS = (
    losses_as_the_signal,
    every_signal_of_classes,
    a_signal_that_does_not_fit_the_output_is_refused,
    a_strategy_that_ranks_nothing_is_counted,
)
