from __future__ import annotations

import json
import subprocess
import sys
from importlib import import_module
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
FOLDER = ROOT / "benchmarks" / "scale"
SCRIPTS = ROOT / "benchmarks" / "pages"
PAGES = ROOT / "docs" / "results" / "scale"


@pytest.fixture(scope="module")
def core_page():
    sys.path.insert(0, str(SCRIPTS))
    try:
        return import_module("core_page")
    finally:
        sys.path.remove(str(SCRIPTS))


@pytest.fixture(scope="module")
def record():
    return json.loads((FOLDER / "records/core.json").read_text(encoding="utf-8"))


def test_the_page_is_made_from_the_record(core_page, record):
    text = (PAGES / "core.md").read_text(encoding="utf-8")
    assert core_page.page(record) == text


def test_the_record_has_each_case_at_each_size(record):
    sizes = {row["n"] for row in record["results"]}
    assert sizes == {10**6, 10**7, 10**8}
    cases = [{r["case"] for r in record["results"] if r["n"] == n} for n in sizes]
    assert cases[0] == cases[1] == cases[2]
    for row in record["results"]:
        assert len(row["seconds"]) == len(row["peak bytes"]) >= 1


def test_the_picture_is_small_and_has_a_dark_side():
    picture = PAGES / "core.svg"
    assert picture.stat().st_size <= 60_000
    assert "prefers-color-scheme:dark" in picture.read_text(encoding="utf-8")
    assert "](core.svg)" in (PAGES / "core.md").read_text(encoding="utf-8")


@pytest.mark.parametrize("n", [10**7, 10**8])
def test_the_goals_of_plan_and_order_hold_in_the_record(core_page, record, n):
    goals = core_page.goals(record, n)
    plans = {k: v for k, v in goals.items() if k.split(":")[0] in core_page.STRATEGIES}
    assert len(plans) == 6
    for name, ratio in plans.items():
        assert ratio <= core_page.bound(name), name


def test_a_short_run_measures_and_keeps_what_was_there(tmp_path, record):
    out = tmp_path / "core.json"
    for case in ("TopScore: plan and order", "checkpoint"):
        options = ["--sizes", "1000", "--cases", case, "--out", str(out)]
        line = [sys.executable, str(FOLDER / "core.py"), *options]
        subprocess.run(line, capture_output=True, check=True, cwd=tmp_path)  # noqa: S603
    made = json.loads(out.read_text(encoding="utf-8"))
    assert list(made) == list(record)
    planned, saved = made["results"]
    assert planned["kept"] == [500] * 5
    assert saved["bytes"][0] > saved["state bytes"][0] == 7000
