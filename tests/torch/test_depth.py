"""How many files a reader enters to follow the session's two main calls."""

from __future__ import annotations

import sys
from pathlib import Path

import torch
from ted_torch import TED
from torch_runs import cross_entropy

ROOT = Path(__file__).parents[2]


def entered(call):
    """Give what a call returns, and the files of the library that it enters."""
    files = set()

    def note(frame, event, _):
        path = Path(frame.f_code.co_filename)
        if event == "call" and {"ted_core", "ted_torch"} & set(path.parts):
            files.add(path)

    before = sys.getprofile()
    sys.setprofile(note)
    try:
        result = call()
    finally:
        sys.setprofile(before)
    return result, {path for path in files if "tests" not in path.parts}


def test_a_session_is_made_in_few_files():
    _, files = entered(lambda: TED(range(40), epochs=9))
    assert len([path for path in files if "ted_torch" in path.parts]) <= 6
    assert len(files) <= 15, sorted(path.name for path in files)


def test_a_step_is_followed_through_few_files():
    ted = TED(range(40), epochs=9)
    ted.set_epoch(0)
    z, ids = torch.ones(8, 3, requires_grad=True) * 1, torch.arange(8)
    losses = cross_entropy(z, ids % 3)
    _, files = entered(lambda: ted.loss(losses, mask=z, ids=ids).backward())
    assert 0 < len(files) <= 6, sorted(path.name for path in files)
