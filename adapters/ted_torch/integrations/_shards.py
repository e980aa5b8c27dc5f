"""Shards and hosts that deal out the batches do not go together."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

__all__ = ["refuse_shard"]


def refuse_shard(options: Mapping[str, Any], host: str) -> None:
    """Refuse a run over shards under a host that shares one data set among the ranks.

    Parameters
    ----------
    options : mapping of str to any
        Options of the run.
    host : str
        Who deals out the batches.

    Raises
    ------
    ValueError
        There is a shard among them.
    """
    shard = options.get("shard")
    if shard is not None:
        msg = (
            f"`shard` must not be given under {host}, which deals the batches of one "
            f"data set out to the ranks, got {shard!r}; give every rank the whole data "
            "set, or train the shards in a loop of your own"
        )
        raise ValueError(msg)
