"""The demonstration compares what it says, draws it, and finds planted labels."""

from __future__ import annotations

import json
import shutil
import sys
from pathlib import Path

import numpy as np
import pytest

import ted_core as ted
from ted_core.demo import engine
from ted_core.demo.__main__ import fit, main
from ted_core.demo.datasets import Images, make_task, task_of

ROOT = Path(__file__).resolve().parents[2]
ARMS = ("full", "full, pruned rate", "random", "soft_margin", "ted")
pytestmark = pytest.mark.filterwarnings("ignore:`batch_size` of 8 leaves:UserWarning")


def arrays(n=40):
    rng = np.random.default_rng(0)
    y = np.arange(n + 20) % 4
    x = (60 * y[:, None, None] + rng.integers(0, 40, (n + 20, 8, 9))).astype(np.uint8)
    return {"x_train": x[:n], "y_train": y[:n], "x_test": x[n:], "y_test": y[n:]}


@pytest.fixture
def stored(tmp_path):
    path = tmp_path / "pictures.npz"
    np.savez(path, **arrays())
    return path


def test_the_table_has_each_arm_at_each_budget_and_a_verdict(capsys, stored, tmp_path):
    picture, record = tmp_path / "curve.svg", tmp_path / "runs.json"
    line = ["--data", str(stored), "--seeds", "3", "--out", str(picture)]
    assert main([*line, "--record", str(record)]) == 0
    printed = capsys.readouterr().out
    rows = {
        arm: next(x for x in printed.splitlines() if x.startswith(f"{arm}  "))
        for arm in ARMS
    }
    assert all(row.count("(") == 3 for row in rows.values())
    assert "mean (sd) of 3 seeds" in printed
    for words in ("At 25 % of the samples", "At 50 % of", "At 100 % of"):
        assert words in printed
    assert "The rates are those of other data; see --sweep." in printed
    assert "All arms trained at the learning rate" not in printed

    drawn = picture.read_text(encoding="utf-8")
    for words in (
        "Budget curve: pictures.npz, 40 samples",
        "test accuracy, %",
        "samples processed (bars: 95 % interval of the mean of 3 seeds)",
        *ARMS,
    ):
        assert f"<!-- {words} -->" in drawn

    runs = json.loads(record.read_text(encoding="utf-8"))["runs"]
    assert len(runs) == 3 * 5 * 3
    before = record.read_bytes()
    assert main([*line, "--record", str(record)]) == 0  # draws again, trains nothing
    assert record.read_bytes() == before
    assert capsys.readouterr().out == printed


def test_a_page_shows_the_table_and_the_verdict_of_the_record(capsys, tmp_path):
    stored, record = ROOT / "benchmarks/demo/budget_curve.json", tmp_path / "runs.json"
    shutil.copy(stored, record)
    picture = tmp_path / "curve.svg"
    assert main(["--record", str(record), "--out", str(picture)]) == 0
    text, _ = capsys.readouterr().out.split("wrote ")
    page = (ROOT / "docs/quickstart/install.md").read_text(encoding="utf-8")
    assert text.rstrip() in page
    assert record.read_bytes() == stored.read_bytes()  # trained nothing


def test_a_sweep_chooses_a_rate_for_each_arm_at_each_budget(
    capsys, monkeypatch, stored, tmp_path
):
    monkeypatch.setattr(engine, "GRID", (0.05, 0.1))
    monkeypatch.setattr(engine, "BUDGETS", (0.5, 1.0))
    record = tmp_path / "runs.json"
    files = ["--out", str(tmp_path / "curve.png"), "--record", str(record)]
    assert main(["--data", str(stored), "--sweep", "--seeds", "3", *files]) == 0
    assert "The best rate is the" in capsys.readouterr().out
    runs = json.loads(record.read_text(encoding="utf-8"))["runs"]
    swept = {(run["arm"], run["budget"], run["rate"]) for run in runs if run["sweep"]}
    assert len(swept) == 2 * 5 * 2


@pytest.mark.parametrize("epochs", [16, 24, 50])
def test_each_arm_trains_at_the_rate_of_its_budget(monkeypatch, epochs):
    names = {arm: tuple((arm, b) for b in engine.BUDGETS) for arm in ARMS}
    monkeypatch.setattr(engine, "RATES", names)
    met = {}

    def train(*, seed, epochs, **options):
        pruner = ted.Pruner(20, epochs=epochs, seed=seed, **options)
        planned = pruner.schedule_table()["kept"].sum()
        while not pruner.finished:
            ids = pruner.plan().order
            pruner.observe(ids, np.ones(ids.size))
            pruner.advance()
        arm, budget = engine.rate_of(epochs / total, options)
        met.setdefault((arm, budget), set()).add(planned / (20 * total))
        return np.random.default_rng([seed, epochs, len(arm)]).random(), pruner

    total = epochs
    ted.compare(
        train,
        epochs=epochs,
        methods=engine.METHODS,
        budgets=engine.BUDGETS,
        seeds=3,
        progress=False,
    )
    assert set(met) == {(arm, b) for arm in ARMS for b in engine.BUDGETS}
    for (_, budget), shares in met.items():
        assert all(abs(share - budget) < 0.07 for share in shares)


def test_each_method_is_observed_by_its_own_signal_and_a_seed_decides_all():
    task = task_of(Images(**arrays()), "pictures")
    for method in ("ted", "soft_margin", "ted_loss", "random"):
        first, again = (
            fit(task, seed=1, epochs=5, lr=0.05, method=method) for _ in range(2)
        )
        assert first[0] == again[0] > 25
        np.testing.assert_array_equal(first[1].scores, again[1].scores)
        assert np.isfinite(first[1].scores).all() == (method != "random")


def test_the_network_follows_the_gradient_of_its_loss():
    data = arrays()
    data["y_test"] = data["y_train"][:20]
    data["x_test"] = data["x_train"][:20]
    task = task_of(Images(**data), "pictures")
    accuracy, _ = fit(task, seed=0, epochs=30, lr=0.02, prune_ratio=0.0)
    assert accuracy == 100


def test_the_generated_data_are_split_and_standardised():
    task = make_task()
    assert task.x_train.shape == (16_000, 20)
    assert task.x_test.shape == (6_000, 20)
    assert (task.classes, task.batch_size) == (10, 256)
    np.testing.assert_allclose(task.x_train.mean(axis=0), 0, atol=1e-4)
    np.testing.assert_allclose(task.x_train.std(axis=0), 1, rtol=1e-3)


def test_planted_labels_are_wrong_and_all_others_right():
    y = np.arange(1000) % 7
    given, wrong = engine.plant_wrong_labels(y, 7)
    assert sorted(np.flatnonzero(given != y)) == sorted(wrong)
    assert len(wrong) == 50
    assert set(given) == set(range(7))


def test_most_of_the_samples_kept_most_often_were_planted(capsys, tmp_path):
    picture = tmp_path / "found.svg"
    assert main(["--wrong-labels", "--epochs", "8", "--out", str(picture)]) == 0
    printed = capsys.readouterr().out
    title = next(line for line in printed.splitlines() if "kept most often" in line)
    found = int(title.split()[0])
    assert printed.count("  planted") == found > 12
    assert f"<!-- {title.rstrip('.')} -->" in picture.read_text(encoding="utf-8")
    assert picture.read_text(encoding="utf-8").count("<!-- given ") == 24


@pytest.mark.parametrize("name", ["sklearn", "matplotlib", "tqdm"])
def test_a_missing_extra_is_one_sentence_before_anything_is_trained(
    capsys, monkeypatch, name
):
    monkeypatch.setitem(sys.modules, name, None)
    with pytest.raises(SystemExit) as end:
        main([])
    assert end.value.code == 2
    assert capsys.readouterr().err == (
        f"{name} is missing: pip install 'ted-core[demo]'\n"
    )


@pytest.mark.parametrize(
    ("line", "words"),
    [
        ("--seeds 0", "`seeds` must be in [3, 65536], got 0"),
        ("--threads 0", "`--threads` must be at least 1, got 0"),
        ("--epochs 1", "`epochs` must be at least 2, got 1"),
        ("--epochs 4", "`budgets` must leave 2 epochs or more, got 0.25"),
        ("--out nowhere/x.png", "`--out` must be in a folder that is there"),
        ("--record nowhere/x.json", "`--record` must be in a folder that is there"),
        ("--data nowhere", "`data` must be a folder or a .npz file, got nowhere"),
        ("--data nowhere.npz", "`data` must be a .npz file that can be read"),
    ],
)
def test_bad_options_are_refused_with_the_rule(capsys, line, words):
    with pytest.raises(SystemExit) as end:
        main(line.split())
    assert end.value.code == 2
    assert words in capsys.readouterr().err
