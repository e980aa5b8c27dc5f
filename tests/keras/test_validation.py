"""What a session refuses, and how it says so."""

from __future__ import annotations

import re

import keras
import numpy as np
import pytest
import tensorflow as tf
from keras_checks.common import N, compiled, fit, network, samples, session
from ted_keras import TED, Mask

from ted_core import EpochError

X, Y = samples()
WEIGHTS = np.ones(N, "float32")


def fetch(ids):
    return X[ids], Y[ids]


def negative():
    found = WEIGHTS.copy()
    found[3] = -1
    return found


@pytest.mark.parametrize(
    ("data", "options", "kind", "said"),
    [
        (tf.data.Dataset.range(3), {}, TypeError, "for tf.data say how a sample"),
        (keras.utils.PyDataset(), {}, TypeError, "for a PyDataset give a function"),
        ([X, Y], {}, TypeError, r"`data` must be \(x, y\).* got builtins.list"),
        ((X,), {}, TypeError, "`data` must be .* got builtins.tuple"),
        ((X, None), {}, TypeError, "`data` must hold arrays, got builtins.None"),
        ((X, "labels"), {}, TypeError, "`data` must hold arrays, got builtins.str"),
        (
            (X.tolist(), Y),
            {},
            TypeError,
            "`data` must hold arrays, got builtins.float in a list; use np.asarray",
        ),
        ((X, Y[:-1]), {}, ValueError, rf"must have {N} rows everywhere, .*\(63,\)"),
        ((X, Y), {"n": 5}, ValueError, f"`n` must be the number .* {N}, got 5"),
        ((X, Y), {"n": WEIGHTS}, TypeError, "`n` must be an integer, got array"),
        (
            (X, Y),
            {"batch_size": keras.ops.ones((), "float64")},
            TypeError,
            "`batch_size` must be an integer",
        ),
        (fetch, {}, ValueError, "`n` must be given with a function"),
        ((X, Y, WEIGHTS[1:]), {}, ValueError, r"`weights` must have shape \(64,\)"),
        ((X, Y, negative()), {}, ValueError, "`weights` must be finite and at least"),
        ((X, Y), {"class_weight": [1]}, TypeError, "`class_weight` must map classes"),
        ((X, Y), {"class_weight": {0: -1}}, ValueError, r"`class_weight\[0\]` must be"),
        ((X, Y), {"class_weight": {"a": 1}}, TypeError, "class of `class_weight`"),
        (
            (X, Y.reshape(-1, 1, 1).repeat(2, axis=1)),
            {"class_weight": {0: 2}},
            ValueError,
            r"`class_weight` must go with targets of shape .* got shape \(64, 2, 1\)",
        ),
        (
            (X, {"a": Y, "b": Y}),
            {"class_weight": {0: 2}},
            ValueError,
            "`class_weight` must go with one output, got several targets",
        ),
        (
            (X, Y[:, None].repeat(5, axis=1)),
            {"class_weight": {0: 2}},
            ValueError,
            r"`class_weight` must go with .* \(64, 5\) with row .* of sum \d+, largest",
        ),
        (
            (X, np.eye(3, dtype="float32")[Y] * [1, 1, 0.5] + [0, 0, 0.5]),
            {"class_weight": {0: 2}},
            ValueError,
            r"`class_weight` must go with .*\(64, 3\) with row \d+ of sum 1.5, largest",
        ),
        (
            (X, np.full((N, 2), 0.5)),
            {"class_weight": {0: 2}},
            ValueError,
            r"must go with .* one largest .* with row 0 of sum 1, largest entry 0\.5",
        ),
        (
            (X, Y),
            {"clas_weight": {0: 2}},
            TypeError,
            r"`clas_weight` is no option, did you mean `class_weight`\? The options",
        ),
        (
            (X, np.full(N, "cat")),
            {"class_weight": {0: 2}},
            TypeError,
            "`data` must hold numbers, got dtype <U3; give text as the numbers of its",
        ),
        (
            (np.full((N, 1), b"cat"), Y),
            {},
            TypeError,
            r"`data` must hold numbers, got dtype \|S3",
        ),
        (
            (X, Y, {"last": WEIGHTS}),
            {},
            TypeError,
            r"`weights` must be one array, or one for each target, got {'last': '\*'}",
        ),
        (
            (X, {"a": Y, "b": Y}, {"a": WEIGHTS}),
            {},
            TypeError,
            "`weights` must be one array, or one for each target",
        ),
        (
            (X, Y, np.ones((N, 2))),
            {"class_weight": {0: 2}},
            ValueError,
            r"`weights` must have shape \(64,\), got shape \(64, 2\)",
        ),
        ((X, Y, np.full(N, "1")), {}, TypeError, "`weights` must hold real numbers"),
        (
            (np.ma.masked_greater(np.arange(N), 60), Y),
            {},
            ValueError,
            "`data` must have a value everywhere, got 3 masked",
        ),
        ((X, Y), {"batch_size": 0}, ValueError, r"`batch_size` must be in \[1, 2"),
        ((X, Y), {"workers": "2"}, TypeError, "`workers` must be an integer, got '2'"),
        ((X, Y), {"batch_size": 8.0}, TypeError, "`batch_size` must be an integer"),
        ((X, Y), {"batch_size": True}, TypeError, "`batch_size` must be an integer"),
        (
            (X, Y),
            {"activation": "relu"},
            ValueError,
            "`activation` must be 'auto', 'linear'",
        ),
        ((X, Y), {"signal": "gradient"}, ValueError, "`signal` must be one of"),
        ((X, Y), {"prune_ratio": 1.5}, ValueError, "`prune_ratio` must be"),
    ],
)
def test_what_a_session_cannot_work_with_is_refused_by_name(data, options, kind, said):
    with pytest.raises(kind, match=said):
        session(compiled(network()), data, **options)


@pytest.mark.parametrize(
    ("pairs", "kind", "said"),
    [
        (lambda ids: ids, TypeError, r"`pairs` must be pairs \(ids, weights\)"),
        (lambda ids: [(ids, 1.0, 2.0)], TypeError, "`pairs` must be pairs"),
        (lambda ids: [(ids[::-1], 1.0)], ValueError, "the first of `pairs` must be"),
        (lambda ids: [(ids, 0.5), (ids + N, 0.5)], ValueError, r"must be in \[0, 64\)"),
        (
            lambda ids: [(ids, 0.5), (ids * 1.0, 0.5)],
            ValueError,
            "be integers of shape",
        ),
        (lambda ids: [(ids, 0.5), (ids[1:], 0.5)], ValueError, "integers of shape"),
        (
            lambda ids: [(ids, -1.0)],
            ValueError,
            "`pairs` must be finite and at least 0",
        ),
        (
            lambda ids: [(ids, np.nan)],
            ValueError,
            "`pairs` must be finite and at least",
        ),
        (
            lambda ids: [(ids, np.ones(3))],
            ValueError,
            r"`pairs` must have shape \(8,\)",
        ),
    ],
)
def test_pairs_that_say_not_what_was_mixed_are_refused(pairs, kind, said):
    ted = session(network(), lambda ids: (X[ids], Y[ids], None, pairs(ids)), n=N)
    with pytest.raises(kind, match=said):
        ted.data[0]


@pytest.mark.parametrize("shape", [(N, 1), (N, 3), (N, 2, 2)])
def test_weights_of_another_shape_than_the_losses_are_refused_in_the_step(shape):
    model = compiled(network())
    ted = session(model, (X, Y, np.ones(shape)))
    said = r"`weights` must have the losses' shape \(.*\), or their first axes, got"
    with pytest.raises(ValueError, match=said), ted:
        fit(ted, model)


def test_only_a_model_is_trained():
    with pytest.raises(TypeError, match=r"`model` must be a keras\.Model, got Dense"):
        TED(keras.layers.Dense(3), (X, Y), epochs=5)


def mixed_reductions():
    inputs = keras.Input((4,))
    heads = [keras.layers.Dense(1, name=name)(inputs) for name in "ab"]
    model = keras.Model(inputs, heads)
    sums = keras.losses.MeanSquaredError(reduction="sum")
    model.compile("sgd", ["mse", sums])
    return model, (X, (X[:, :1], X[:, :1])), {"output": "a"}


def two_outputs(**options):
    model, data, _ = mixed_reductions()
    model.compile("sgd", ["mse", "mse"])
    return model, data, options


def with_loss(loss):
    return compiled(network(), loss=loss), (X, Y), {}


def two_masks():
    dense = keras.layers.Dense(3)
    layers = [keras.Input((4,)), Mask(name="a"), dense, Mask(name="b")]
    return compiled(keras.Sequential(layers)), (X, Y), {}


def one_number(y, z):
    return keras.ops.mean(z**2) - keras.ops.mean(y)


@pytest.mark.parametrize(
    ("made", "kind", "said"),
    [
        (mixed_reductions(), ValueError, "`reduction` must be the same for all"),
        (two_outputs(), ValueError, "`output` must be one of a, b, got None"),
        (two_outputs(output="c"), ValueError, "`output` must be one of a, b, got 'c'"),
        (
            with_loss(keras.losses.MeanSquaredError("mean_with_sample_weight")),
            ValueError,
            "'sum', got 'mean_with_sample_weight', which divides 1 / r_t out again",
        ),
        (
            with_loss(keras.losses.MeanSquaredError(reduction=None)),
            ValueError,
            "'sum_over_batch_size' or 'sum', got None; leave `reduction` out",
        ),
        (with_loss(one_number), TypeError, "`loss` must give a loss for each sample"),
        (two_masks(), ValueError, "`model` must have at most one Mask, got a, b"),
    ],
)
def test_what_cannot_be_scored_is_refused_by_a_check_and_when_the_fit_begins(
    made, kind, said
):
    model, data, options = made
    ted = session(model, data, **options)
    with pytest.raises(kind, match=said):
        ted.check()
    with pytest.raises(kind, match=said), ted:
        fit(ted, model)
    assert "compute_loss" not in model.__dict__


def test_a_fit_of_another_model_is_refused():
    ted = session(compiled(network()))
    with pytest.raises(EpochError, match="`fit` must be that of the model given"), ted:
        fit(ted, compiled(network()))


def test_a_fit_on_other_data_is_refused():
    model = compiled(network())
    ted = session(model)
    said = r"must be given this session's `ted\.data`, got other data"
    with pytest.raises(EpochError, match=said):
        model.fit(X, Y, epochs=ted.pruner.epochs, callbacks=[ted], verbose=0)


@pytest.mark.parametrize(
    ("given", "said"),
    [
        (lambda ids: X[ids], r"`data\(ids\)` must be \(x, y\)"),
        (lambda ids: (X[ids][1:], Y[ids]), "must have 8 rows everywhere"),
        (lambda ids: (X[ids], Y[ids], ids[1:]), r"`weights` must have shape \(8,\)"),
        (lambda ids: (X[ids], Y[ids], {"a": ids}), "`weights` must be one array"),
    ],
)
def test_a_function_that_gives_something_else_is_refused(given, said):
    ted = session(compiled(network()), given, n=N)
    with pytest.raises((TypeError, ValueError), match=said):
        ted.data[0]


def test_more_samples_than_a_function_has_are_named_with_its_error():
    ted = session(compiled(network()), lambda ids: (X[ids], Y[ids]), n=2 * N)
    said = r"`n`=128 must be the number of samples: `data\(ids\)` was asked for ids up"
    with pytest.raises(IndexError) as caught:
        ted.data[0]
    (note,) = caught.value.__notes__
    assert re.match(said, note)


class OfTorch:
    """What a PyTorch tensor that requires a gradient shows of itself."""

    dtype = "float32"

    def __init__(self, rows, *, free=False):
        self.rows, self.free = rows, free

    def detach(self):
        return OfTorch(self.rows, free=True)

    def cpu(self):
        return self

    def __array__(self, dtype=None, copy=None):
        if not self.free:
            msg = "Can't call numpy() on Tensor that requires grad."
            raise RuntimeError(msg)
        return np.asarray(self.rows, dtype)


@pytest.mark.parametrize(
    "made", [OfTorch, lambda x: (x * 8).astype("uint16"), tf.constant, list]
)
def test_a_function_may_give_arrays_of_any_kind_or_they_are_refused_by_name(made):
    model = compiled(network())
    ted = session(model, lambda ids: (made(X[ids]), Y[ids].astype("uint16")), n=N)
    if made is list:
        with pytest.raises(ValueError, match=r"`data\(ids\)` must have 8 rows"), ted:
            fit(ted, model)
        return
    fit(ted, model)
    assert np.isfinite(ted.pruner.scores).all()


def test_a_batch_that_the_epoch_has_not_is_refused():
    ted = session(compiled(network()))
    with pytest.raises(IndexError, match=r"`index` must be in \[0, \d+\), got 99"):
        ted.data[99]


def test_a_state_that_does_not_fit_changes_nothing():
    ted = session(compiled(network()))
    before = ted.state_dict()
    for state, said in (
        (3, "`state` must be a mapping"),
        ({"model": 1, "ted": before}, r"got 'model', 'ted'; give `state\['ted'\]`"),
        ({**before, "ted_keras.seen": np.zeros(3)}, "`ted_keras.seen` must be uint8"),
        (
            {**before, "ted_keras.seen": np.ones(N, np.uint8), "ted_keras.order": 1},
            "`state` must have the order of this epoch, saved checksum 1",
        ),
        ({**before, "seed": 9}, "seed"),
        ({**before, "ted_keras.mixed": np.zeros(N)}, "`ted_keras.mixed` must be float"),
        (
            {**before, "ted_keras.mixed": np.full((N, 2), -1, np.float32)},
            "the weights of `ted_keras.mixed` must be finite and at least 0, saved",
        ),
    ):
        with pytest.raises((TypeError, ValueError), match=said):
            ted.load_state_dict(state)
    after = ted.state_dict()
    assert after.keys() == before.keys()
    for name, value in before.items():
        np.testing.assert_array_equal(after[name], value)
