"""Batches of like lengths in Keras' fit: order, tokens, resume."""

from __future__ import annotations

import keras
import numpy as np
import pytest
import tensorflow as tf
from keras_checks.common import (
    BATCH,
    EPOCHS,
    KillAfter,
    KilledError,
    N,
    compiled,
    fit,
    network,
    samples,
    session,
)
from ted_keras import Pipeline

from ted_core import CheckpointError

X, Y = samples()
LENGTHS = 1 + np.arange(N) * 13 % 17
GROUPED = {"lengths": LENGTHS, "multiple_of": BATCH}


def load(k):
    return tf.gather(X, k), tf.gather(Y, k)


def ended(ted, model):
    return [*ted.state_dict().items(), *enumerate(model.get_weights())]


def same(one, other):
    for (name, value), (_, expected) in zip(one, other, strict=True):
        np.testing.assert_array_equal(value, expected, err_msg=str(name))


@pytest.fixture(scope="module")
def plain():
    """Train on a function; give each epoch's batches of ids, and how it ended."""
    asked, batches = [], []

    class Note(keras.callbacks.Callback):
        def on_epoch_begin(self, epoch, logs=None):
            asked.clear()

        def on_epoch_end(self, epoch, logs=None):
            batches.append([ids.tolist() for ids in asked])

    def fetch(ids):
        asked.append(ids)
        return X[ids], Y[ids]

    model = compiled(network())
    ted = session(model, fetch, n=N, workers=0, **GROUPED)
    fit(ted, model, Note())
    return batches, ted, ended(ted, model)


def padded(batches):
    return sum(len(ids) * LENGTHS[ids].max() for ids in batches)


def test_an_epoch_comes_in_batches_of_like_lengths_and_counts_tokens(plain):
    batches, ted, _ = plain
    assert len(batches) == EPOCHS
    everything = [ids for ids in batches if sum(map(len, ids)) == N]
    assert len(everything) < EPOCHS
    shuffled = np.random.default_rng(0).permuted([np.arange(N)] * 20, axis=1)
    others = [padded(row.reshape(-1, BATCH)) for row in shuffled]
    assert all(padded(ids) < min(others) for ids in everything)
    lengths = [[LENGTHS[k].tolist() for k in ids] for ids in batches]
    assert all(max(one[0]) == max(map(max, one)) for one in lengths)
    tokens = [sum(map(sum, one)) for one in lengths]
    assert ted.report().forwarded_tokens.tolist() == tokens
    assert ted.savings().tokens.full == EPOCHS * LENGTHS.sum()


@pytest.mark.parametrize("data", [(X, Y), Pipeline(load)])
def test_arrays_and_a_pipeline_give_the_run_of_a_function(plain, data):
    model = compiled(network())
    ted = session(model, data, n=N, **GROUPED)
    fit(ted, model)
    same(ended(ted, model), plain[2])


def test_a_fit_killed_in_mid_epoch_goes_on_in_the_same_batches(plain):
    model = compiled(network())
    ted = session(model, Pipeline(load), n=N, **GROUPED)
    with pytest.raises(KilledError), ted:
        fit(ted, model, KillAfter(2, batch=1))
    again = session(model, Pipeline(load), n=N, **GROUPED)
    again.load_state_dict(ted.state_dict())
    fit(again, model, initial_epoch=again.epoch)
    same(ended(again, model), plain[2])


def test_a_state_of_other_lengths_is_refused(plain):
    other = session(network(), **{**GROUPED, "lengths": LENGTHS[::-1]})
    with pytest.raises(CheckpointError, match="lengths"):
        other.load_state_dict(plain[1].state_dict())
