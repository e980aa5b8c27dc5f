"""How many of our files a reader enters to follow one call."""

from __future__ import annotations

import sys
from pathlib import Path

import ted_core as ted

FOLDER = str(Path(ted.__file__).parent)


def entered(call):
    """Give the files of the core in which a function runs during a call."""
    files = set()

    def note(frame, event, _):
        if event == "call" and frame.f_code.co_filename.startswith(FOLDER):
            files.add(frame.f_code.co_filename.removeprefix(FOLDER))

    sys.setprofile(note)
    try:
        call()
    finally:
        sys.setprofile(None)
    return files


def test_a_pruner_is_made_in_at_most_nine_files():
    files = entered(lambda: ted.Pruner(40, epochs=5))
    assert len(files) <= 9, sorted(files)
