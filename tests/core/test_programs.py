"""The command line, as a person runs it."""

from __future__ import annotations

import numpy as np
import pytest

import ted_core as ted
from ted_core.cli import main


@pytest.mark.filterwarnings("ignore:`batch_size` of 128 leaves a last batch of one")
def test_plan_prints_what_a_schedule_saves(capsys):
    assert (
        main(["plan", "--samples", "50000", "--epochs", "200", "--batch-size", "128"])
        == 0
    )
    schedule = ted.RollerCoaster(0.7)
    saved = ted.planned_save_ratio(schedule, 200, n=50000)
    steps = ted.Pruner(50000, epochs=200).total_steps(128)
    printed = capsys.readouterr().out
    assert f"planned save ratio {100 * saved:.1f} %" in printed
    assert f"optimizer steps {steps} of {200 * 391}" in printed


@pytest.mark.parametrize("schedule", ["linear", "cosine", "constant"])
def test_plan_takes_every_schedule_and_draws_it(capsys, tmp_path, schedule):
    picture = tmp_path / "plan.png"
    line = f"plan --samples 99 --epochs 9 --batch-size 8 --schedule {schedule} --plot"
    assert main([*line.split(), str(picture)]) == 0
    assert picture.read_bytes().startswith(b"\x89PNG")
    assert f"wrote {picture}" in capsys.readouterr().out


def test_bad_arguments_are_one_line_and_status_2(capsys):
    line = "plan --samples 0 --epochs 9 --batch-size 8"
    assert main(line.split()) == 2
    assert capsys.readouterr().err.startswith("ted: error: `--samples` must be in [1")


def test_few_epochs_warn(capsys):
    assert main(["plan", "--samples", "9", "--epochs", "4", "--batch-size", "8"]) == 0
    assert "ted: warning: `epochs`=4 saves little" in capsys.readouterr().err


def test_inspect_tells_what_a_state_holds(capsys, tmp_path):
    pruner = ted.Pruner(20, epochs=6)
    pruner.observe(pruner.plan().order, np.ones(20))
    pruner.advance()
    ted.save_state(tmp_path / "ted.npz", pruner.state_dict())
    assert main(["inspect", str(tmp_path / "ted.npz")]) == 0
    printed = capsys.readouterr().out
    assert f"{'schedule.kind':20} RollerCoaster" in printed
    assert "20 of 20" in printed


def test_inspect_refuses_what_is_no_state(capsys, tmp_path):
    (tmp_path / "x").write_text("no state")
    assert main(["inspect", str(tmp_path / "x")]) == 2
    assert main(["inspect", str(tmp_path / "missing")]) == 2
    assert "must be a whole saved state" in capsys.readouterr().err
