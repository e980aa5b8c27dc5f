from __future__ import annotations

import json
import runpy
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture(scope="module")
def script():
    return runpy.run_path(str(ROOT / "benchmarks/overhead/loss_memory.py"))


@pytest.fixture(scope="module")
def record(script):
    return json.loads(script["RECORD"].read_text(encoding="utf-8"))


def test_the_pages_table_is_made_from_the_record(script, record):
    text = script["PAGE"].read_text(encoding="utf-8")
    assert script["page"](text, record) == text


def test_the_record_was_made_with_the_committed_configuration(script, record):
    assert record["config"] == script["CONFIG"]


def test_what_the_page_says_in_words_holds_in_the_record(record):
    peaks = {row["arm"]: row["MiB"] for row in record["results"]}
    assert peaks["TEDTrainer"] < peaks["Trainer"]
    assert peaks["SFTTrainer with TED"] < 1.05 * peaks["SFTTrainer"]
    assert peaks["SFTTrainer"] < peaks["TEDTrainer"]


def test_tensors_alive_at_once_are_counted_once(script):
    import torch  # noqa: PLC0415 - with what is counted

    with script["Alive"]() as alive:
        one = torch.zeros(1000)
        two = one.view(10, 100) + 1
        del one
        two.add_(1)
        three = two * 2
        del two, three
    assert (alive.most, alive.now) == (8000, 0)
