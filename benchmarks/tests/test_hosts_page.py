from __future__ import annotations

import runpy
import sys
from pathlib import Path

import pytest

FOLDER = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(FOLDER / "hosts"))

import run  # noqa: E402 - the folder is known now

PAGE = runpy.run_path(str(FOLDER / "pages" / "hosts.py"))
RECORDS = PAGE["read"]()


def test_the_page_is_made_from_the_records():
    assert PAGE["PAGE"].read_text(encoding="utf-8") == PAGE["page"]()


@pytest.mark.parametrize("name", RECORDS)
def test_a_script_follows_its_plan_ends_at_its_rate_and_resumes(name):
    assert run.wrong(run.scripts()[name], RECORDS[name]) == []


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"forwarded": 1}, "not those planned"),
        ({"rate": [0.5]}, "the rate ends elsewhere"),
        ({"resumed": "other weights"}, "no remark says why"),
        (
            {"full": {"forwarded": 0, "rate": [0.0], "resumed": None}},
            "nothing was saved",
        ),
    ],
)
def test_what_a_record_shows_to_be_wrong_is_said(change, says):
    record = RECORDS["torchvision_classification"] | change
    found = run.wrong(run.scripts()["torchvision_classification"], record)
    assert any(says in each for each in found)


def test_lines_go_to_the_place_that_their_anchor_finds():
    text = "def f(x):\n    y = x\n    return y\n"
    edits = [("at", "y = x", "y = 2 * x"), ("after", "y = 2", "y += 1")]
    ours = run.edited(text, edits, "f.py")
    assert ours == "def f(x):\n    y = 2 * x\n    y += 1\n    return y\n"
    assert run.changed(text, ours) == (1, 2)
    for anchor, count in (("z", 0), ("y", 2)):
        with pytest.raises(ValueError, match=rf"once in f.py, got {count} matches"):
            run.edited(text, [("at", anchor, "")], "f.py")
