from __future__ import annotations

import warnings

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import ted_core as ted

HALF = ted.Constant(0.5, anneal=0)
N = 30


def earlier(epochs=6, n=N, seed=0, **options):
    """Give a finished run whose values are those of a permutation."""
    values = np.random.default_rng(seed).permutation(n)
    pruner = ted.Pruner(n, epochs=epochs, prune_ratio=0.6, **options)
    while not pruner.finished:
        order = pruner.plan().order
        pruner.observe(order, values[order] + pruner.epoch)
        pruner.advance()
    return pruner


def kinds(pruner, folder):
    """Give the run's scores in each form that is taken."""
    table, state = ted.sample_table(pruner), pruner.state_dict()
    np.save(folder / "scores.npy", pruner.scores)
    ted.save_state(folder / "run.npz", state)
    table.to_csv(folder / "scores.csv")
    files = [folder / "scores.npy", folder / "scores.csv", folder / "run.npz"]
    return [pruner.scores, pruner.scores.tolist(), table, state, *files, str(files[2])]


def test_one_epoch_prunes_by_the_scores_of_an_earlier_run_in_any_form(tmp_path):
    pruner = earlier()
    highest = np.sort(np.argsort(pruner.scores)[N // 2 :]).tolist()
    for form in kinds(pruner, tmp_path):
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            run = ted.Pruner(N, epochs=1, schedule=HALF, initial_scores=form)
        assert run.plan().kept.tolist() == highest
        np.testing.assert_array_equal(run.scores, pruner.scores)
        run.observe(run.plan().order, np.ones(N // 2))
        run.advance()
        assert (run.finished, run.savings().ratio) == (True, 0.5)


@given(
    reduction=st.sampled_from([ted.Polyak(0.5), ted.Last(), ted.Mean()]),
    seed=st.integers(0, 9),
)
def test_a_state_starts_a_run_with_the_scores_that_it_ranks_by(reduction, seed):
    pruner = earlier(seed=seed, reduction=reduction)
    run = ted.Pruner(N, epochs=6, initial_scores=pruner.state_dict())
    np.testing.assert_array_equal(run.scores, pruner.scores)


def test_a_run_that_has_not_seen_every_sample_is_refused():
    pruner = ted.Pruner(N, epochs=6)
    pruner.observe(range(N - 2), np.ones(N - 2))
    pruner.advance()
    with pytest.raises(ValueError, match="a value of each sample, got 2 of 30"):
        ted.Pruner(N, epochs=6, initial_scores=pruner.state_dict())
    with pytest.raises(ValueError, match="`initial_scores` must be finite, got nan at"):
        ted.Pruner(N, epochs=6, initial_scores=ted.sample_table(pruner))


def test_an_open_epoch_is_refused():
    pruner = ted.Pruner(N, epochs=6)
    pruner.observe([0], [1.0])
    with pytest.raises(ted.CheckpointError, match="must be taken between two epochs"):
        ted.Pruner(N, epochs=6, initial_scores=pruner.state_dict())


def test_scores_of_other_samples_are_refused(tmp_path):
    for form in kinds(earlier(n=N - 1), tmp_path):
        with pytest.raises(ValueError, match="`initial_scores` must have"):
            ted.Pruner(N, epochs=6, initial_scores=form)


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("id,rank\n0,1\n", "with the columns 'id' and 'score', got .* in 'a.csv'"),
        ("", "with the columns 'id' and 'score', got None"),
        ("id,score\n0,1\n0,2\n", "one row for each of 2 samples, got 2 rows, 1 ids"),
        ("id,score\n", "one row for each of 2 samples, got 0 rows"),
        ("id,score\n0,1\n1,high\n", "hold numbers, got .* in 'a.csv'"),
    ],
)
def test_a_table_that_is_none_is_refused(text, says, tmp_path):
    (tmp_path / "a.csv").write_text(text, encoding="utf-8")
    with pytest.raises(ValueError, match="`initial_scores` must .*" + says):
        ted.Pruner(2, epochs=6, initial_scores=tmp_path / "a.csv")


@pytest.mark.parametrize(
    "options", [{"schedule": HALF}, {"initial_scores": np.ones(N)}, {}]
)
def test_one_epoch_needs_scores_and_a_schedule_that_prunes_from_the_start(options):
    with pytest.raises(
        ValueError, match="`epochs` must be at least 2, got 1; the first"
    ):
        ted.Pruner(N, epochs=1, **options)


@pytest.mark.parametrize("strategy", [ted.Random(), ted.Static(np.arange(N))])
def test_one_epoch_may_be_of_a_strategy_that_needs_no_values(strategy):
    run = ted.Pruner(N, epochs=1, schedule=HALF, strategy=strategy)
    assert len(run.plan()) == N // 2


def test_a_folder_with_states_of_one_epoch_is_refused_and_of_several_the_last_is_taken(
    tmp_path,
):
    pruner = earlier()
    for name in ("0.npz", "1.npz"):
        ted.save_state(tmp_path / name, pruner.state_dict())
    with pytest.raises(ValueError, match=r"must be one state, got 2 in .*'0.npz'"):
        ted.Pruner(N, epochs=6, initial_scores=tmp_path)
    ted.save_state(tmp_path / "1.npz", earlier(epochs=8, seed=1).state_dict())
    run = ted.Pruner(N, epochs=6, initial_scores=tmp_path)
    np.testing.assert_array_equal(run.scores, earlier(epochs=8, seed=1).scores)
