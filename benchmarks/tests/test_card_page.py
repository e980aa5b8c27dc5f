"""The table of the method card comes from the records of the evidence."""

from __future__ import annotations

import sys
from importlib import import_module
from pathlib import Path

SCRIPTS = Path(__file__).resolve().parents[2] / "benchmarks" / "pages"


def test_the_cards_table_is_made_from_the_records():
    sys.path.insert(0, str(SCRIPTS))
    try:
        card, evidence = import_module("card"), import_module("evidence")
    finally:
        sys.path.remove(str(SCRIPTS))
    text = card.CARD.read_text(encoding="utf-8")
    assert card.with_table(text, evidence.load()) == text
