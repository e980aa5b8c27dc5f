"""The sessions of all processes in a trainer's checkpoint: the file ``ted.pt``."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch

from ted_core import CheckpointError, atomic_write
from ted_torch._state import check_saved
from ted_torch._validation import DAMAGE

NAME = "ted.pt"


def write(
    folder: str | os.PathLike[str], session: Mapping[str, Any], facts: Mapping[str, int]
) -> None:
    """Write the gathered state, and the facts that a resumed run must share."""
    target = Path(folder) / NAME
    target.parent.mkdir(parents=True, exist_ok=True)
    with atomic_write(target) as file:
        torch.save({"facts": dict(facts), "session": dict(session)}, file)


def read(
    folder: str | os.PathLike[str], facts: Mapping[str, int], *, process: int
) -> tuple[dict[str, Any], int]:
    """Return the saved state and its epoch's updates, if the facts are this run's."""
    target = Path(folder) / NAME
    # Older files hold one process each.
    older = target.with_name(f"ted_{process}.pt")
    if facts["world_size"] > 1 and not target.is_file() and older.is_file():
        target = older
    if not target.is_file():
        there = sorted(path.name for path in target.parent.glob("ted*.pt"))
        msg = (
            f"a checkpoint must hold {NAME!r} for a world size of "
            f"{facts['world_size']}, got {there or 'none'} in {target.parent.name!r}; "
            "resume with the world size that saved, from a run with TED"
        )
        raise CheckpointError(msg)
    try:
        file = torch.load(target, weights_only=True, map_location="cpu")
        session, saved = dict(file["session"]), dict(file["facts"])
        found = {name: int(saved[name]) for name in (*facts, "updates")}
    except DAMAGE as error:
        msg = f"{target.name!r} must be a state of TED, got {type(error).__name__}"
        raise CheckpointError(msg) from error
    for name, here in facts.items():
        check_saved(name, found[name], here)
    return session, found["updates"]
