"""How many of our files a reader enters to follow one call."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

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


@pytest.mark.parametrize(("call", "limit"), [(lambda: ted.Pruner(40, epochs=5), 9)])
def test_few_files_are_entered(call, limit):
    files = entered(call)
    assert len(files) <= limit, sorted(files)
