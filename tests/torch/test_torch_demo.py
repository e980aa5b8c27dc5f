"""The PyTorch demonstration trains what it compares."""

from __future__ import annotations

import json

import numpy as np
import pytest
import torch
from ted_torch.demo import fit, main

from ted_core.demo.datasets import Images, task_of

pytestmark = pytest.mark.filterwarnings("ignore:`batch_size` of 8 leaves:UserWarning")


def arrays(n=40):
    rng = np.random.default_rng(0)
    y = np.arange(n + 20) % 4
    x = 60 * y[:, None, None, None] + rng.integers(0, 40, (n + 20, 8, 9, 3))
    x = x.astype(np.uint8)
    return {"x_train": x[:n], "y_train": y[:n], "x_test": x[n:], "y_test": y[n:]}


def test_the_budget_curve_is_measured_drawn_and_recorded(capsys, tmp_path):
    data, picture = tmp_path / "pictures.npz", tmp_path / "curve.svg"
    np.savez(data, **arrays())
    record = tmp_path / "runs.json"
    files = ["--out", str(picture), "--record", str(record)]
    assert main(["--data", str(data), "--seeds", "3", *files]) == 0
    printed = capsys.readouterr().out
    assert "\nsoft_margin " in printed
    assert "\nted " in printed
    assert "At 25 % of the samples" in printed
    drawn = picture.read_text(encoding="utf-8")
    for words in ("Budget curve: pictures.npz, 40 samples", "test accuracy, %", "ted"):
        assert f"<!-- {words} -->" in drawn
    runs = json.loads(record.read_text(encoding="utf-8"))["runs"]
    assert len(runs) == 45
    full = [run["samples"] for run in runs if run["arm"] == "full"]
    assert sorted(set(full)) == [4 * 40, 8 * 40, 16 * 40]


def test_most_of_the_samples_kept_most_often_were_planted(capsys, tmp_path):
    picture = tmp_path / "found.png"
    assert main(["--wrong-labels", "--epochs", "8", "--out", str(picture)]) == 0
    assert capsys.readouterr().out.count("  planted") > 12
    assert picture.read_bytes().startswith(b"\x89PNG")


@pytest.mark.parametrize("method", ["ted", "soft_margin", "ted_loss", "random"])
def test_a_seed_decides_all_and_the_global_generator_is_left_alone(method):
    task = task_of(Images(**arrays()), "pictures")
    before = torch.get_rng_state()
    first, again = (
        fit(task, seed=1, epochs=5, lr=0.05, method=method) for _ in range(2)
    )
    assert torch.equal(torch.get_rng_state(), before)
    assert first[0] == again[0] > 25
    scores = first[1].pruner.scores
    np.testing.assert_array_equal(scores, again[1].pruner.scores)
    assert np.isfinite(scores).all() or method == "random"


def test_the_threads_of_pytorch_are_as_they_were(tmp_path):
    before = torch.get_num_threads()
    with pytest.raises(SystemExit):
        main(["--threads", str(before + 1), "--data", str(tmp_path / "nothing.npz")])
    assert torch.get_num_threads() == before


def test_a_device_that_is_not_there_is_refused(capsys):
    with pytest.raises(SystemExit) as end:
        main(["--device", "mars"])
    assert end.value.code == 2
    assert "`--device` must be one that is there, got mars" in capsys.readouterr().err
