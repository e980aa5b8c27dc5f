from __future__ import annotations

import json
import runpy
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
FOLDER = ROOT / "benchmarks" / "scale"


@pytest.fixture(scope="module")
def committed():
    path = FOLDER / "records" / "ranks.json"
    return json.loads(path.read_text(encoding="utf-8"))


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """Run the script once, shortly."""
    path = tmp_path_factory.mktemp("record") / "ranks.json"
    options = ["--sizes", "3000", "--ranks", "2", "--closings", "1", "--out", str(path)]
    line = [sys.executable, str(FOLDER / "ranks.py"), *options]
    done = subprocess.run(line, capture_output=True, text=True, check=False)  # noqa: S603
    assert done.returncode == 0, done.stderr
    return json.loads(path.read_text(encoding="utf-8"))


def test_the_page_is_that_of_the_record(committed):
    page = runpy.run_path(str(ROOT / "benchmarks" / "pages" / "ranks_page.py"))
    assert page["markdown"](committed) == page["PAGE"].read_text(encoding="utf-8")


def test_a_short_run_writes_what_the_record_holds(made, committed):
    assert list(made) == list(committed)
    for result, other in zip(made["results"], committed["results"], strict=False):
        assert list(result) == list(other)
        assert result["mode"] == other["mode"]


def test_what_passes_through_an_epoch_does_not_grow_with_the_samples(made, committed):
    few, top, soft = 200, 12 * 2056, 8 * 2**17
    most = {
        "per_rank": few,
        "exact": few + top,
        "exact, SoftTop": few + top + soft,
    }
    for result in made["results"] + committed["results"]:
        if result["mode"] in most:
            assert result["bytes"] <= most[result["mode"]]
            assert result["resident bytes"] == 7 * -(-result["n"] // result["ranks"])
        elif result["ranks"] > 1:
            assert result["bytes"] >= 8 * result["n"]
            assert result["resident bytes"] == 7 * result["n"]
