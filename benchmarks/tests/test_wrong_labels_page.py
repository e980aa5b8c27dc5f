from __future__ import annotations

import json
import sys
from importlib import import_module
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
FOLDER = ROOT / "benchmarks" / "pages"


@pytest.fixture(scope="module")
def script():
    sys.path.insert(0, str(FOLDER))
    try:
        return import_module("wrong_labels")
    finally:
        sys.path.remove(str(FOLDER))


@pytest.fixture(scope="module")
def record(script):
    return json.loads(script.RECORD.read_text(encoding="utf-8"))


def test_the_pages_table_is_made_from_the_record(script, record):
    text = script.PAGE.read_text(encoding="utf-8")
    assert script.page(text, record) == text


def test_the_record_was_made_with_the_committed_configuration(script, record):
    assert record["config"] == json.loads(json.dumps(script.CONFIG))


def test_the_picture_has_a_dark_side_and_stands_on_the_page(script):
    assert f"]({script.PICTURE.name})" in script.PAGE.read_text(encoding="utf-8")
    svg = script.PICTURE.read_text(encoding="utf-8")
    assert "prefers-color-scheme:dark" in svg
    assert len(svg) <= 60_000


def test_what_the_page_says_in_words_holds_in_the_record(record):
    def mean(share, run, order, value, at):
        rows = [
            row[value][at]
            for row in record["runs"]
            if (row["share"], row["run"], row["order"]) == (share, run, order)
        ]
        assert len(rows) == record["config"]["seeds"] >= 5
        return sum(rows) / len(rows)

    for share in record["config"]["shares"]:
        loss = mean(share, "TED on loss", "kept", "precision", -1)
        assert 0.9 < loss < 0.95
        assert mean(share, "TED on loss", "kept", "precision", 1) == 1
        for plain in ("random draw", "all data"):
            found = mean(share, plain, "score", "precision", -1)
            assert loss < found < loss + 0.05
        assert 0.7 < mean(share, "TED", "score", "precision", -1) < 0.85
        assert 0.4 < mean(share, "TED", "kept", "precision", -1) < 0.55
        wrong = mean(share, "TED on loss", "kept", "visits", 0)
        others = mean(share, "TED on loss", "kept", "visits", 1)
        assert wrong > 0.98 * record["config"]["epochs"]
        assert wrong > 2 * others
