from __future__ import annotations

import json
import runpy
import subprocess
import sys
from pathlib import Path

import pytest

FOLDER = Path(__file__).resolve().parents[2] / "benchmarks" / "overhead"
SITES = {
    "fastai": ["plain", "plain again", "ted"],
    "lightning": ["plain", "plain again", "ted"],
    "timm": ["plain", "plain again", "ted"],
    "torchdata": ["plain", "plain again", "ted", "DataLoader"],
    "ultralytics": ["plain", "plain again", "ted"],
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
def test_the_committed_record_has_rounds_enough(host):
    record = committed(host)
    assert record["config"]["rounds"] >= 20
    assert record["config"]["batch"] == (16 if host == "ultralytics" else 128)
    assert record["config"]["memory kept"]
    assert record["machine"]["threads"] == 1


@pytest.fixture(scope="module")
def pages():
    return runpy.run_path(str(FOLDER.parent / "pages" / "host_pages.py"))


def test_the_pages_tell_the_costs_of_the_records(pages):
    parts = pages["parts"]()
    assert len(parts) == 7
    for name, part in parts.items():
        text = (pages["DOCS"] / name).read_text(encoding="utf-8")
        assert pages["page"](text, part) == text


def test_a_renewed_record_renews_the_pages_sentence(pages):
    record = committed("lightning")
    record["config"] |= {"rounds": 77, "steps": 50}
    record["sites"][2]["cpu"]["ratio, 95 % interval"] = [1.0123, 1.0, 1.0456]
    part = pages["turns"]("lightning", record)
    assert "with TED +1.2 % [+0.0, +4.6]" in " ".join(part.split())
    assert "77 rounds" in " ".join(part.split())
    assert "6,400 pictures" in " ".join(part.split())
