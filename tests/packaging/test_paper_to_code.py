from __future__ import annotations

import importlib
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
TEXT = (ROOT / "docs/method/paper_to_code.md").read_text(encoding="utf-8")
FIRST_CELLS = re.findall(r"^\| ([^|]+?) \|", TEXT, flags=re.MULTILINE)
OF_THE_PAPER = [
    *(f"Eq. {number}" for number in range(1, 25)),
    *(f"Definition {number}" for number in range(1, 4)),
    *(f"Lemma {number}" for number in range(1, 3)),
    *(f"{line}" for line in range(1, 12)),
    *(f"Table {number}" for number in range(1, 13)),
    *(f"Figure {number}" for number in range(1, 11)),
]
NAMES = sorted(set(re.findall(r"`(ted_\w+(?:\.\w+)+)", TEXT)))
PATHS = sorted(set(re.findall(r"`((?:tests|benchmarks)/[\w/.]+)`", TEXT)))


@pytest.mark.parametrize("thing", OF_THE_PAPER)
def test_each_thing_of_the_paper_has_one_row(thing):
    assert [cell.partition(",")[0] for cell in FIRST_CELLS].count(thing) == 1


@pytest.mark.parametrize("name", NAMES)
def test_each_name_of_the_page_can_be_imported(name):
    parts = name.split(".")
    place = importlib.import_module(parts[0])
    for part in parts[1:]:
        if not hasattr(place, part):
            place = importlib.import_module(f"{place.__name__}.{part}")
        else:
            place = getattr(place, part)
    assert place is not None


@pytest.mark.parametrize("path", PATHS)
def test_each_file_of_the_page_is_there(path):
    assert (ROOT / path).exists()
