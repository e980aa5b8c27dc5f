from __future__ import annotations

import json
import runpy
from pathlib import Path

import pytest

FOLDER = Path(__file__).resolve().parents[2] / "benchmarks" / "pages"
LEAST = {"torch": 60, "ranks": 30, "keras": 30}


@pytest.fixture(scope="module")
def report():
    return runpy.run_path(str(FOLDER / "reliability.py"))


@pytest.fixture(scope="module")
def records(report):
    return {name: report["read"](f"kills_{name}") for name in report["TRAININGS"]}


def test_the_page_is_made_from_the_records(report):
    assert report["PAGE"].read_text(encoding="utf-8") == report["page"]()


@pytest.mark.parametrize("name", LEAST)
def test_every_run_that_saves_as_the_docs_say_ended_bit_for_bit(records, name):
    trials = records[name]["trials"]
    assert sum(len(one["kills"]) for one in trials) >= LEAST[name]
    assert all(one["equal"] for one in trials)
    kinds = {k["moment"]["kind"] for one in trials for k in one["kills"]}
    assert kinds == {"step", "time", "call", "byte"}


def test_no_resumed_run_ended_with_other_bits(records):
    assert not [one for r in records.values() for one in r["trials"] if one["differs"]]


def test_no_damaged_file_was_taken_over_and_nothing_was_executed(report):
    record = report["read"]("damage")
    for row in record["damaged files"]:
        assert "taken over, altered" not in row["outcomes"]
        assert not row.get("executed")
    for row in record["full disks"]:
        assert row["error"] is not None
        assert row["older file whole"]
        assert row["other files"] == []


def test_thousands_of_calls_ended_in_an_answer_or_an_error_of_ours(report):
    record = report["read"]("fuzz")
    ends = {"answer", "ValueError", "TypeError", "EpochError", "CheckpointError"}
    assert {end for row in record["results"] for end in row["outcomes"]} <= ends
    assert sum(sum(row["outcomes"].values()) for row in record["results"]) > 10_000
    assert json.dumps(record)
