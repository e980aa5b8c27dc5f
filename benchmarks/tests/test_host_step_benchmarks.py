from __future__ import annotations

import json
import re
import subprocess
import sys
from pathlib import Path

import pytest

FOLDER = Path(__file__).resolve().parents[2] / "benchmarks" / "overhead"
PAGES = FOLDER.parents[1] / "docs" / "adapters"
SITES = {
    "lightning": ["plain", "plain again", "ted"],
    "torchdata": ["plain", "plain again", "ted", "DataLoader"],
}


def run(host, *options):
    line = [sys.executable, str(FOLDER / f"{host}_steps.py"), *options]
    done = subprocess.run(line, capture_output=True, text=True, check=False)  # noqa: S603
    assert done.returncode == 0, done.stderr
    return done.stdout


def committed(host):
    path = FOLDER / "records" / f"{host}_steps.json"
    return json.loads(path.read_text(encoding="utf-8"))


def fields(value):
    if isinstance(value, dict):
        return {key: fields(value[key]) for key in value}
    return [fields(one) for one in value] if isinstance(value, list) else None


@pytest.mark.parametrize("host", SITES)
def test_a_short_run_writes_the_fields_of_the_committed_record(tmp_path, host):
    path = tmp_path / "record.json"
    run(host, "--rounds", "2", "--steps", "2", "--batch", "8", "--out", str(path))
    record = json.loads(path.read_text(encoding="utf-8"))
    assert fields(record) == fields(committed(host))
    assert [row["site"] for row in record["sites"]] == SITES[host]


@pytest.mark.parametrize("host", SITES)
def test_the_page_tells_the_costs_of_the_record(host):
    printed = run(host, "--table", str(FOLDER / "records" / f"{host}_steps.json"))
    text = (PAGES / f"{host}.md").read_text(encoding="utf-8")
    assert printed.strip() in re.sub(r"\s+", " ", text)
    record = committed(host)
    assert record["config"]["rounds"] >= 20
    assert record["config"]["batch"] == 128
    assert record["machine"]["threads"] == 1
