"""Scores of an earlier run open a fit, of one epoch say."""

from __future__ import annotations

import keras
import numpy as np
import pytest
import tensorflow as tf
from keras_checks.common import (
    BATCH,
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

from ted_core import Constant

X, Y = samples()
SCORES = np.random.default_rng(0).permutation(N).astype("float32")
HIGHEST = np.flatnonzero(SCORES >= N // 2).tolist()
HALF = {"epochs": 1, "prune_ratio": None, "schedule": Constant(0.5, anneal=0)}


def load(k):
    return tf.gather(X, k), tf.gather(Y, k)


def array(folder):
    np.save(folder / "scores.npy", SCORES)
    return folder / "scores.npy"


def table(folder):
    rows = "".join(f"{k},{score}\n" for k, score in enumerate(SCORES))
    (folder / "scores.csv").write_text("id,score\n" + rows, encoding="utf-8")
    return folder / "scores.csv"


def saved_session(folder):
    session(network(), initial_scores=SCORES).save(folder / "ted.npz")
    return folder / "ted.npz"


@pytest.mark.parametrize("given", [array, table, saved_session])
@pytest.mark.parametrize("data", [(X, Y), Pipeline(load)])
def test_one_epoch_trains_on_the_highest_scores_of_a_file(given, data, tmp_path):
    model = compiled(network())
    ted = session(model, data, n=N, initial_scores=given(tmp_path), **HALF)
    assert ted.pruner.plan().kept.tolist() == HIGHEST
    fit(ted, model)
    assert int(model.optimizer.iterations) == ted.total_steps == N // 2 // BATCH
    assert ted.savings().ratio == 0.5


def test_a_fit_killed_within_its_one_epoch_goes_on_as_one_never_stopped():
    whole = compiled(network())
    one = session(whole, initial_scores=SCORES, **HALF)
    fit(one, whole)
    model = compiled(network())
    killed = session(model, Pipeline(load), n=N, initial_scores=SCORES, **HALF)
    with pytest.raises(KilledError), killed:
        fit(killed, model, KillAfter(0, batch=1))
    again = session(model, Pipeline(load), n=N, initial_scores=SCORES, **HALF)
    again.load_state_dict(killed.state_dict())
    fit(again, model)
    np.testing.assert_array_equal(again.pruner.scores, one.pruner.scores)
    for mine, theirs in zip(model.get_weights(), whole.get_weights(), strict=True):
        np.testing.assert_array_equal(mine, theirs)


def test_scores_of_other_samples_are_refused():
    with pytest.raises(ValueError, match=f"`initial_scores` must .*{N}"):
        session(keras.Sequential(), initial_scores=SCORES[1:])
