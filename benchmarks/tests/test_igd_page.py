from __future__ import annotations

import json
import runpy
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture(scope="module")
def script():
    return runpy.run_path(str(ROOT / "benchmarks/pages/igd_correlation.py"))


@pytest.fixture(scope="module")
def record(script):
    return json.loads(script["RECORD"].read_text(encoding="utf-8"))


def test_the_pages_table_is_made_from_the_record(script, record):
    text = script["PAGE"].read_text(encoding="utf-8")
    assert script["page"](text, record) == text


def test_the_record_was_made_with_the_committed_configuration(script, record):
    assert record["config"] == script["CONFIG"]


def test_each_result_has_its_runs_behind_it(record):
    for result in record["results"]:
        assert result["n"] == len(result["values"]) >= 5
        assert result["mean"] == pytest.approx(
            sum(result["values"]) / result["n"], abs=1e-6
        )


def test_what_the_page_says_in_words_holds_in_the_record(record):
    rows = {}
    for r in record["results"]:
        key = r["dataset"], r["l2"], r["without"]
        rows.setdefault(key, {})[r["quantity"]] = r["mean"]
    shown = 0.0005
    for (dataset, l2, _), row in rows.items():
        for site in ("input", "logits"):
            assert row[f"{site}_absolute"] <= row["loss"] + shown
            assert row[f"{site}_signed"] <= row[f"{site}_absolute"] + shown
            underfits = dataset == "digits_pooled" and l2 >= 0.01
            assert (row[f"{site}_absolute"] < 0) is underfits
        assert row["quadratic"] > 0.99
