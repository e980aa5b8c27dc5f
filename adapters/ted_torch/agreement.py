"""Ranks that train together hold the same facts: exchanged, compared, named."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import nullcontext
from typing import Any

import torch
import torch.distributed as dist

from ted_core import EpochError, Pruner, Static, __version__
from ted_torch.distributed import Ranks

__all__ = ["agree", "check_made_in_time", "exchange", "refuse_unlike", "run_facts"]

_OWN = ("n", "labels", "order", "shard.rank", "shard.first")


def check_made_in_time(ranks: Ranks) -> None:
    """Refuse ranks that were found before ``torch.distributed`` was set up.

    Parameters
    ----------
    ranks : Ranks
        What :func:`find_ranks` returned when the session was made.

    Raises
    ------
    EpochError
        There is a default group of several ranks by now, and `ranks` knows of none.
    """
    if ranks.world_size > 1 or ranks.group is not None or not dist.is_available():
        return
    if dist.is_initialized() and dist.get_world_size() > 1:
        msg = (
            f"a session must be made after `init_process_group`, got one made for one "
            f"process among {dist.get_world_size()}; to train each by itself give it "
            "`num_replicas=1, rank=0` and a `group` of its own"
        )
        raise EpochError(msg)


def run_facts(pruner: Pruner, epoch: int) -> dict[str, Any]:
    """Return what must be the same on all ranks before they train an epoch.

    Parameters
    ----------
    pruner : Pruner
        This rank's run.
    epoch : int
        Epoch to train.

    Returns
    -------
    dict of str to plain value
        The configuration, the library's version, the epoch and its order; of a shard,
        whether its plan is there already instead of all that is this rank's own.
    """
    config = pruner.config
    facts: dict[str, Any] = {"shard": None, "version": __version__}
    facts |= config.describe() | {"epoch": epoch}
    if config.shard is None:
        return facts | {"order": pruner.plan().checksum}
    # Its plan is made together: only once all agree.
    facts |= {"shard": config.shard.balance, "plan": None}
    if pruner.planned:
        facts["plan"] = pruner.plan().kept_by_rank
    if isinstance(config.strategy, Static):
        facts["strategy"] = "Static"
    return {name: fact for name, fact in facts.items() if name not in _OWN}


def agree(facts: Mapping[str, Any], ranks: Ranks, *, device: torch.device) -> None:
    """Refuse to go on unless all ranks hold the same facts.

    Parameters
    ----------
    facts : mapping of str to plain value
        What must be alike.
    ranks : Ranks
        Ranks that take part, all of them.
    device : torch.device
        Where this rank computes.

    Raises
    ------
    EpochError
        On every rank: the first fact that differs, with the ranks and both values.
    """
    refuse_unlike(exchange(facts, ranks, device=device), list(facts))


def exchange(
    facts: Mapping[str, Any], ranks: Ranks, *, device: torch.device
) -> list[Mapping[str, Any]]:
    """Return the facts of every rank, in the order of the ranks: one exchange.

    Parameters
    ----------
    facts : mapping of str to plain value
        This rank's.
    ranks : Ranks
        Ranks that take part, all of them.
    device : torch.device
        Where this rank computes.

    Returns
    -------
    list of mapping
        One a rank.
    """
    if ranks.world_size == 1:
        return [facts]
    here = torch.cuda.device(device) if device.type == "cuda" else nullcontext()
    with here:
        everyone: list[Any] = [None] * ranks.world_size
        dist.all_gather_object(everyone, dict(facts), group=ranks.group)
    return everyone


def refuse_unlike(everyone: Sequence[Mapping[str, Any]], names: Sequence[str]) -> None:
    """Refuse ranks whose facts differ.

    Parameters
    ----------
    everyone : sequence of mapping
        The facts of every rank, in their order.
    names : sequence of str
        What must be alike.

    Raises
    ------
    EpochError
        The first fact that differs, with the ranks and both values.
    """
    for other, theirs in enumerate(everyone):
        for name in names:
            value = everyone[0].get(name)
            if theirs.get(name) != value:
                msg = (
                    f"`{name}` must be the same on all ranks, got {value!r} on rank 0 "
                    f"and {theirs.get(name)!r} on rank {other}"
                )
                raise EpochError(msg)
