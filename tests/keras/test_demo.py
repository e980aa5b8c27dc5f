"""The Keras demonstration trains what it compares, on the backend it was given."""

from __future__ import annotations

import os
import subprocess
import sys

import numpy as np
import pytest
from ted_keras.demo import fit, main

from ted_core.demo import engine
from ted_core.demo.datasets import Images, task_of

pytestmark = pytest.mark.filterwarnings("ignore:`batch_size` of 8 leaves:UserWarning")


def arrays(n=40):
    rng = np.random.default_rng(0)
    y = np.arange(n + 20) % 4
    x = (60 * y[:, None, None] + rng.integers(0, 40, (n + 20, 8, 9))).astype(np.uint8)
    return {"x_train": x[:n], "y_train": y[:n], "x_test": x[n:], "y_test": y[n:]}


@pytest.fixture
def here(monkeypatch):
    """Let the program run in this process, on its backend."""
    monkeypatch.setattr("ted_keras.demo.environment", lambda *_: {})


@pytest.mark.usefixtures("here")
def test_the_budget_curve_is_measured_and_drawn(capsys, monkeypatch, tmp_path):
    # Each fit is traced anew: one budget, one method and one seed are really trained.
    monkeypatch.setattr(engine, "BUDGETS", (1.0,))
    monkeypatch.setattr(engine, "METHODS", ("soft_margin",))
    trained = {}

    def once(task, *, seed, **options):
        arm = options["epochs"], options.get("method"), options["prune_ratio"]
        if arm not in trained:
            trained[arm] = fit(task, seed=seed, **options)
        accuracy, session = trained[arm]
        return accuracy - seed, session

    monkeypatch.setattr("ted_keras.demo.fit", once)
    data, picture = tmp_path / "pictures.npz", tmp_path / "curve.svg"
    np.savez(data, **arrays())
    line = ["--data", str(data), "--seeds", "3", "--epochs", "4"]
    assert main([*line, "--out", str(picture)]) == 0
    assert len(trained) == 4
    printed = capsys.readouterr().out
    assert "\nsoft_margin " in printed
    assert "At 100 % of the samples" in printed
    drawn = picture.read_text(encoding="utf-8")
    for words in ("Budget curve: pictures.npz, 40 samples", "test accuracy, %"):
        assert f"<!-- {words} -->" in drawn


def test_another_backend_finds_planted_labels(tmp_path):
    data, picture = tmp_path / "pictures.npz", tmp_path / "found.png"
    np.savez(data, **arrays(200))
    line = ["--backend", "jax", "--wrong-labels", "--epochs", "8", "--data", str(data)]
    done = subprocess.run(  # noqa: S603 - our own code
        [sys.executable, "-m", "ted_keras.demo", *line, "--out", str(picture)],
        capture_output=True,
        text=True,
        check=False,
        env={**os.environ, "JAX_PLATFORMS": "cpu"},
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.count("  planted") > 4  # of 10; chance would find 1
    assert picture.read_bytes().startswith(b"\x89PNG")


@pytest.mark.parametrize("method", ["ted", "random"])
def test_a_seed_decides_all_and_the_global_generator_is_left_alone(method):
    task = task_of(Images(**arrays()), "pictures")
    before = np.random.get_state()[1].copy()  # noqa: NPY002 - must not be touched
    first, again = (
        fit(task, seed=1, epochs=5, lr=0.05, method=method) for _ in range(2)
    )
    np.testing.assert_array_equal(np.random.get_state()[1], before)  # noqa: NPY002
    assert first[0] == again[0] > 25
    scores = first[1].pruner.scores
    np.testing.assert_array_equal(scores, again[1].pruner.scores)
    assert np.isfinite(scores).all() or method == "random"


def test_a_missing_backend_is_named(capsys, monkeypatch):
    monkeypatch.setitem(sys.modules, "jax", None)
    with pytest.raises(SystemExit) as end:
        main(["--backend", "jax"])
    assert end.value.code == 2
    assert capsys.readouterr().err == "jax is missing: pip install jax\n"


def test_a_backend_that_keras_lacks_is_refused(capsys):
    with pytest.raises(SystemExit) as end:
        main(["--backend", "mars"])
    assert end.value.code == 2
    assert "invalid choice: 'mars'" in capsys.readouterr().err


@pytest.mark.usefixtures("here")
def test_bad_settings_are_refused_with_the_rule(capsys):
    with pytest.raises(SystemExit) as end:
        main(["--epochs", "1"])
    assert end.value.code == 2
    assert "`epochs` must be at least 2, got 1" in capsys.readouterr().err
