"""One file for the states of all ranks, for hosts where one rank writes for all."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch.distributed as dist

from ted_torch.distributed import Ranks

__all__ = ["gather_state", "own_state"]

_OWN = ("buffer.", "position", "rank", "checksum")


def gather_state(state: Mapping[str, Any], ranks: Ranks) -> dict[str, Any]:
    """Return a session's state with the other ranks' parts of the open epoch.

    Parameters
    ----------
    state : mapping
        This rank's session state.
    ranks : Ranks
        Ranks that take part, all of them.

    Returns
    -------
    dict
        What all ranks have alike, and under ``ranks`` the rest, rank by rank.

    Notes
    -----
    One collective where there are several ranks, of 5 bytes a sample and rank.
    """
    own = {name: value for name, value in state.items() if name.startswith(_OWN)}
    parts: list[Any] = [own]
    if ranks.world_size > 1:
        parts = [None] * ranks.world_size
        dist.all_gather_object(parts, own, group=ranks.group)
    alike = {name: value for name, value in state.items() if name not in own}
    return {**alike, "ranks": parts}


def own_state(state: Mapping[str, Any], ranks: Ranks) -> dict[str, Any]:
    """Return one rank's session state out of what :func:`gather_state` returned.

    Parameters
    ----------
    state : mapping
        The states of all ranks.
    ranks : Ranks
        This process.

    Returns
    -------
    dict
        State of the rank of the same number, else of the first: the session then
        tells whether it fits.
    """
    alike = {name: value for name, value in state.items() if name != "ranks"}
    parts = state.get("ranks") or [{}]
    here = ranks.rank if ranks.rank < len(parts) else 0
    return {**alike, **parts[here]}
