"""A session's state beside a trainer's checkpoint: one file a rank."""

from __future__ import annotations

import os
import pickle
import secrets
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch

from ted_core import CheckpointError

__all__ = ["read_file", "write_file"]


def write_file(
    folder: str | os.PathLike[str],
    session: Mapping[str, Any],
    facts: Mapping[str, int],
) -> None:
    """Write a rank's state into a checkpoint's folder, whole or not at all.

    Parameters
    ----------
    folder : str or path
        The checkpoint's folder; made if it is not there.
    session : mapping
        What ``TED.state_dict()`` returned on this rank.
    facts : mapping of str to int
        ``rank``, ``world_size``, and what else a resumed run must share.
    """
    target = _path(folder, facts)
    target.parent.mkdir(parents=True, exist_ok=True)
    beside = target.with_name(f".{target.name}.{secrets.token_hex(8)}.tmp")
    try:
        torch.save({"facts": dict(facts), "session": dict(session)}, beside)
        beside.replace(target)
    except BaseException:
        beside.unlink(missing_ok=True)
        raise


def read_file(
    folder: str | os.PathLike[str], facts: Mapping[str, int], *, free: tuple[str, ...]
) -> tuple[dict[str, Any], dict[str, int]]:
    """Read a rank's state from a checkpoint's folder.

    Parameters
    ----------
    folder : str or path
        The checkpoint's folder.
    facts : mapping of str to int
        This run's; the saved ones must be the same.
    free : tuple of str
        Facts that are read, not compared.

    Returns
    -------
    session : dict
        What ``TED.load_state_dict`` takes.
    facts : dict of str to int
        The saved ones.

    Raises
    ------
    CheckpointError
        There is no file of this rank, it can't be read, or a fact differs.
    """
    target = _path(folder, facts)
    if not target.is_file():
        there = sorted(path.name for path in target.parent.glob("ted*.pt"))
        msg = (
            f"a checkpoint must hold {target.name!r} for rank {facts['rank']} of "
            f"{facts['world_size']}, got {there or 'none'} in {target.parent.name!r}; "
            "resume with the world size that saved, from a run with TED"
        )
        raise CheckpointError(msg)
    try:
        read = torch.load(target, weights_only=True, map_location="cpu")
        session, saved = dict(read["session"]), dict(read["facts"])
        found = {name: int(saved[name]) for name in (*facts, *free)}
    except (
        RuntimeError,
        EOFError,
        ValueError,
        KeyError,
        TypeError,
        pickle.UnpicklingError,
    ) as error:
        msg = f"{target.name!r} must be a state of TED, got {type(error).__name__}"
        raise CheckpointError(msg) from error
    for name, here in facts.items():
        if found[name] != here:
            msg = f"`{name}` must be the saved one, saved {found[name]}, here {here}"
            raise CheckpointError(msg)
    return session, found


def _path(folder: str | os.PathLike[str], facts: Mapping[str, int]) -> Path:
    rank = "" if facts["world_size"] == 1 else f"_{facts['rank']}"
    return Path(folder) / f"ted{rank}.pt"
