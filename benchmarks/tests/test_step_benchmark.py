from __future__ import annotations

import json
import runpy
import subprocess
import sys
from pathlib import Path

import pytest

FOLDER = Path(__file__).resolve().parents[2] / "benchmarks" / "overhead"
MASKED = ["logits", "feature", "first convolution", "input"]
SITES = ["plain", "plain again", "unreduced losses", *MASKED]


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """Run the script once, shortly: its record and what it printed."""
    path = tmp_path_factory.mktemp("record") / "steps.json"
    options = ["--steps", "2", "--small", "--batch", "8", "--out", str(path)]
    line = [sys.executable, str(FOLDER / "torch_steps.py"), *options]
    done = subprocess.run(line, capture_output=True, text=True, check=False)  # noqa: S603
    assert done.returncode == 0, done.stderr
    return json.loads(path.read_text(encoding="utf-8")), done.stdout


@pytest.fixture(scope="module")
def committed():
    path = FOLDER / "records" / "torch_steps.json"
    return json.loads(path.read_text(encoding="utf-8"))


def fields(value):
    if isinstance(value, dict):
        return {key: fields(value[key]) for key in value}
    return None


def test_a_short_run_writes_each_site_of_the_committed_record(made, committed):
    record, _ = made
    (result,) = record["results"]
    assert [site["site"] for site in result["sites"]] == SITES
    assert result["steps of each site"] == 2
    assert list(record) == list(committed)
    for other in committed["results"]:
        assert fields(result["sites"][2]) == fields(other["sites"][2])


def test_a_step_of_ted_adds_operations_and_the_counts_say_which(made):
    record, _ = made
    for added in record["operations a step adds"].values():
        named = sum(added["by name"].values())
        assert added["operations"] == pytest.approx(named)
        assert named > 0


def test_a_run_prints_the_table_of_its_record(made):
    record, printed = made
    markdown = runpy.run_path(str(FOLDER / "step_table.py"))["markdown"]
    assert markdown(record) + "\n" == printed
    assert printed.count("| logits |") == 2


def test_the_committed_record_has_hundreds_of_steps_and_both_networks(committed):
    steps = {r["network"]: r["steps of each site"] for r in committed["results"]}
    assert set(steps) == {"small", "large"}
    assert min(steps.values()) >= 100
    assert committed["config"]["batch"] == 128
    assert committed["machine"]["threads"] == 1
