from __future__ import annotations

import json
import re
import subprocess
import sys
from pathlib import Path

import pytest

FOLDER = Path(__file__).resolve().parents[2] / "benchmarks" / "speed"
PAGE = FOLDER.parents[1] / "docs" / "adapters" / "lightning.md"


def run(*options):
    line = [sys.executable, str(FOLDER / "lightning_steps.py"), *options]
    done = subprocess.run(line, capture_output=True, text=True, check=False)  # noqa: S603
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.fixture(scope="module")
def committed():
    path = FOLDER / "records" / "lightning_steps.json"
    return json.loads(path.read_text(encoding="utf-8"))


def fields(value):
    if isinstance(value, dict):
        return {key: fields(value[key]) for key in value}
    return [fields(one) for one in value] if isinstance(value, list) else None


def test_a_short_run_writes_the_fields_of_the_committed_record(tmp_path, committed):
    path = tmp_path / "record.json"
    run("--rounds", "2", "--steps", "2", "--batch", "8", "--out", str(path))
    record = json.loads(path.read_text(encoding="utf-8"))
    assert fields(record) == fields(committed)
    assert [row["site"] for row in record["sites"]] == ["plain", "plain again", "ted"]


def test_the_page_tells_the_costs_of_the_record(committed):
    printed = run("--table", str(FOLDER / "records" / "lightning_steps.json"))
    assert printed.strip() in re.sub(r"\s+", " ", PAGE.read_text(encoding="utf-8"))
    assert committed["config"]["rounds"] >= 20
    assert committed["config"]["batch"] == 128
    assert committed["machine"]["threads"] == 1
