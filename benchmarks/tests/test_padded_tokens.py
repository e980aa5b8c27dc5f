from __future__ import annotations

import json
import runpy
from pathlib import Path

import numpy as np
import pytest

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture(scope="module")
def script():
    return runpy.run_path(str(ROOT / "benchmarks/pages/padded_tokens.py"))


@pytest.fixture(scope="module")
def record(script):
    return json.loads(script["RECORD"].read_text(encoding="utf-8"))


def test_the_pages_table_is_made_from_the_record(script, record):
    text = script["PAGE"].read_text(encoding="utf-8")
    assert script["page"](text, record) == text


def test_the_record_was_made_with_the_committed_configuration(script, record):
    assert record["config"] == script["CONFIG"]
    assert all(len(row["padded"]) == row["n"] == 5 for row in record["results"])


def test_the_counts_of_lengths_drawn_can_be_made_again(script, record):
    lengths = script["lengths_of"]("log-normal", 0, None)
    for row in record["results"][:4]:
        found = script["count"](lengths, row["arm"], 0)
        assert found == (row["padded"][0], row["own"][0])


def test_tokens_are_those_of_batches_padded_to_their_longest(script):
    lengths = np.full(160, 7)
    assert script["count"](lengths, "all samples, shuffled", 3) == (11200, 11200)
    lengths[5] = 10  # one long sample pads its batch of 16 in each of 10 epochs
    padded, own = script["count"](lengths, "all samples, shuffled", 3)
    assert (padded, own) == (11200 + 16 * 3 * 10, 11200 + 3 * 10)


def test_what_the_page_says_in_words_holds_in_the_record(record):
    shares = {}
    for row in record["results"]:
        shares.setdefault(row["data"], []).append(row["share"])
    for full, by_length, pruned, both in shares.values():
        assert 1 == full > pruned > by_length > both
