from __future__ import annotations

import json
import runpy
import subprocess
import sys
from pathlib import Path

import pytest

FOLDER = Path(__file__).resolve().parents[2] / "benchmarks" / "overhead"


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """Run the script once, shortly: its record and what it printed."""
    path = tmp_path_factory.mktemp("record") / "steps.json"
    options = ["--rounds", "2", "--steps", "3", "--out", str(path)]
    line = [sys.executable, str(FOLDER / "huggingface_steps.py"), *options]
    done = subprocess.run(line, capture_output=True, text=True, check=False)  # noqa: S603
    assert done.returncode == 0, done.stderr
    return json.loads(path.read_text(encoding="utf-8")), done.stdout


@pytest.fixture(scope="module")
def committed():
    path = FOLDER / "records" / "huggingface_steps.json"
    return json.loads(path.read_text(encoding="utf-8"))


def fields(value):
    if isinstance(value, dict):
        return {key: fields(value[key]) for key in value}
    return None


def test_a_short_run_writes_each_run_of_the_committed_record(made, committed):
    record, _ = made
    assert fields(record) == fields(committed)
    for mine, theirs in zip(record["results"], committed["results"], strict=True):
        assert mine["run"] == theirs["run"]
        assert fields(mine) == fields(theirs)
        for one, other in zip(mine["sites"], theirs["sites"], strict=True):
            assert one["site"] == other["site"]
            assert fields(one) == fields(other)


def test_a_run_prints_the_table_of_its_record(made, monkeypatch):
    record, printed = made
    monkeypatch.syspath_prepend(str(FOLDER))
    markdown = runpy.run_path(str(FOLDER / "huggingface_steps.py"))["markdown"]
    assert printed.endswith(markdown(record) + "\n")


def test_the_committed_record_is_of_one_number_of_rounds_and_one_thread(committed):
    assert len({result["rounds"] for result in committed["results"]}) == 1
    assert committed["machine"]["threads"] == 1
