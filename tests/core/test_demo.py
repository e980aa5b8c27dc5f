"""The demonstration measures what it prints."""

from __future__ import annotations

import sys

import pytest

import ted_core as ted
from ted_core.demo import load_digits
from ted_core.demo.__main__ import main
from ted_core.demo.softmax import SoftmaxTraining


def train(digits, pruner, *, seed):
    training = SoftmaxTraining(digits, pruner, seed=seed)
    while not training.finished:
        training.take_turn()
    return training.result()


def rows_of(printed):
    lines = [line.split() for line in printed.splitlines() if line]
    return {line[0]: line for line in lines if line[0] in {"full", "random", "TED"}}


def test_the_table_has_each_variant_with_the_samples_of_its_plan(capsys, tmp_path):
    picture = tmp_path / "digits.png"
    assert main(["--seeds", "2", "--epochs", "6", "--out", str(picture)]) == 0
    printed = capsys.readouterr().out
    rows = rows_of(printed)
    planned = int(ted.Pruner(1348, epochs=6).schedule_table()["kept"].sum())
    assert [rows[name][3] for name in ("full", "random", "TED")] == [
        str(6 * 1348),
        str(planned),
        str(planned),
    ]
    assert rows["TED"][4] == f"{100 * (1 - planned / (6 * 1348)):.1f}"
    assert all(50 < float(row[1]) <= 100 for row in rows.values())
    assert all(float(row[2]) >= 0 for row in rows.values())
    assert all(float(row[5]) > 0 for row in rows.values())
    assert "n = 2 seeds" in printed
    assert picture.read_bytes().startswith(b"\x89PNG")
    assert list(tmp_path.iterdir()) == [picture]


def test_only_a_strategy_that_uses_scores_pays_for_them():
    digits = load_digits()
    for strategy, scored in ((ted.Random(), 0), (ted.TopScore(), 1348)):
        pruner = ted.Pruner(1348, epochs=5, prune_ratio=0.5, strategy=strategy)
        run = train(digits, pruner, seed=0)
        assert int((pruner.update_counts > 0).sum()) == scored
        assert run.forwarded == pruner.schedule_table()["kept"].sum()
        assert run.full == 5 * 1348
        assert len(run.epoch_seconds) == len(run.scores) == 5


def test_a_run_is_the_same_again_with_the_same_seed():
    digits = load_digits()
    runs = [train(digits, ted.Pruner(1348, epochs=5), seed=1) for _ in range(2)]
    assert runs[0].accuracy == runs[1].accuracy
    assert runs[0].scores[-1].tobytes() == runs[1].scores[-1].tobytes()


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
        ("--seeds 0", "`--seeds` must be at least 1, got 0"),
        ("--epochs 1", "`epochs` must be at least 2, got 1"),
        ("--prune-ratio 1", r"`prune_ratio` must be in [0, 1), got 1.0"),
        ("--out nowhere/x.png", "`--out` must be in a folder that is there"),
    ],
)
def test_bad_options_are_refused_with_the_rule(capsys, line, words):
    with pytest.raises(SystemExit) as end:
        main(line.split())
    assert end.value.code == 2
    assert words in capsys.readouterr().err
