from __future__ import annotations

import json
import os
import runpy
import subprocess
import sys
from pathlib import Path

import pytest

FOLDER = Path(__file__).resolve().parents[2] / "benchmarks" / "overhead"
PLAIN = ["plain", "plain again", "plain arrays", "sample weights", "ids and scale"]
SITES = [*PLAIN, "ids, scale, store", "output", "feature", "first layer"]


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """Run the script once, shortly: its record and what it printed."""
    path = tmp_path_factory.mktemp("record") / "steps.json"
    options = (
        "--backends tensorflow --network tiny nothing --sizes 500 "
        f"--rounds 2 --warm 1 --steps 2 --batch 8 --out {path}"
    )
    line = [sys.executable, str(FOLDER / "keras_steps.py"), *options.split()]
    environment = {k: v for k, v in os.environ.items() if k != "KERAS_BACKEND"}
    done = subprocess.run(  # noqa: S603 - our own code
        line, capture_output=True, text=True, check=False, env=environment
    )
    assert done.returncode == 0, done.stderr
    return json.loads(path.read_text(encoding="utf-8")), done.stdout


@pytest.fixture(scope="module")
def committed():
    path = FOLDER / "records" / "keras_steps.json"
    return json.loads(path.read_text(encoding="utf-8"))


def fields(value):
    if isinstance(value, dict):
        return {key: fields(value[key]) for key in value}
    return None


def test_a_short_run_writes_each_fit_of_the_committed_record(made, committed):
    record, _ = made
    assert list(record) == list(committed)
    (backend,) = record["backends"]
    tiny, nothing = backend["results"]
    assert [site["site"] for site in tiny["sites"]] == SITES
    assert [site["site"] for site in nothing["sites"]] == PLAIN
    assert tiny["steps of each site"] == nothing["steps of each site"] == 4
    for other in committed["backends"]:
        assert fields(backend) == fields(other)
        for result in other["results"]:
            mine = nothing if result["network"] == "nothing" else tiny
            for site, theirs in zip(mine["sites"], result["sites"], strict=True):
                assert site["site"] == theirs["site"]
                assert fields(site) == fields(theirs)


def test_a_run_prints_the_table_of_its_record(made, monkeypatch):
    record, printed = made
    monkeypatch.syspath_prepend(str(FOLDER))
    markdown = runpy.run_path(str(FOLDER / "keras_table.py"))["markdown"]
    assert markdown(record) + "\n" == printed
    assert printed.count("| output |") == 1


def test_the_committed_record_has_every_backend_and_a_step_of_20_ms(committed):
    found = {backend["name"]: backend for backend in committed["backends"]}
    assert set(found) == {"tensorflow", "tensorflow, jit_compile", "jax"}
    assert committed["config"]["batch"] == 128
    assert committed["machine"]["threads"] == 1
    assert {"keras", "tensorflow-cpu", "jax"} <= set(committed["versions"])
    for backend in found.values():
        results = {result["network"]: result for result in backend["results"]}
        assert set(results) == {"small", "tiny", "nothing"}
        assert min(r["steps of each site"] for r in results.values()) >= 400
        assert results["small"]["sites"][0]["wall"]["median ms"] > 15


def test_the_page_tells_the_costs_of_the_record(committed):
    page = FOLDER.parents[1] / "docs" / "adapters" / "keras.md"
    text = page.read_text(encoding="utf-8")
    for backend in committed["backends"]:
        sites = {
            result["network"]: {site["site"]: site["cpu"] for site in result["sites"]}
            for result in backend["results"]
        }
        ratio, low, high = (
            100 * (value - 1)
            for value in sites["small"]["output"]["ratio, 95 % interval"]
        )
        plain = sites["small"]["plain"]["median ms"]
        assert f"{ratio:+.1f} % [{low:+.1f}, {high:+.1f}] of {plain:.0f} ms" in text
        extra = sites["tiny"]["output"]["extra ms, 95 % interval"][0]
        assert f"{extra:+.2f} ms" in text
