"""Data that no rank holds whole: each rank's shard, found in one exchange."""

from __future__ import annotations

from collections.abc import Mapping, Sized
from functools import partial
from typing import Any, Literal

import numpy as np
import torch
import torch.distributed as dist
from numpy.typing import NDArray
from torch.utils.data import Dataset

from ted_core import CheckpointError, Shard
from ted_torch.agreement import exchange, refuse_unlike
from ted_torch.datasets import count_items
from ted_torch.distributed import Ranks, find_ranks, group_device

__all__ = ["check_same_shard", "find_shard"]


def find_shard(
    dataset: Dataset[Any] | Sized,
    *,
    balance: Literal["exact", "per_rank"] = "exact",
    group: Any = None,
    device: torch.device | str = "cpu",
) -> Shard:
    """Return this rank's place among data of which each rank has its own part.

    Parameters
    ----------
    dataset : map-style data set
        The samples of this rank, which no other rank has.
    balance : {"exact", "per_rank"}, default "exact"
        Whether an epoch's samples are chosen from those of all ranks together, or by
        each rank from its own.
    group : torch.distributed.ProcessGroup, optional
        Ranks that train together; None is the default group, if there is one.
    device : torch.device or str, default "cpu"
        Where this rank computes.

    Returns
    -------
    Shard
        To give to :class:`TED` on every rank.

    Raises
    ------
    EpochError
        On every rank: another one has another `balance`, or makes a session without a
        shard.
    ValueError
        On every rank: a shard is empty, or over 255 times as large as another.
    TypeError
        `dataset` has no length.

    Notes
    -----
    One exchange of the sizes, in which all ranks take part. Later, an epoch's samples
    are found in at most 12 sums of 2 kB, whatever the number of samples, beside some
    of a few numbers.

    Examples
    --------
    >>> from ted_torch import find_shard
    >>> find_shard(range(100))
    Shard(sizes=(100,), rank=0, balance='exact')
    """
    size = count_items(dataset)
    ranks = find_ranks(group=group)
    facts = {"shard": str(balance), "size": size}
    everyone = exchange(facts, ranks, device=torch.device(device))
    refuse_unlike(everyone, ["shard"])
    sizes = tuple(int(theirs["size"]) for theirs in everyone)
    return Shard(sizes, ranks.rank, partial(_all_sum, ranks), balance=balance)


def check_same_shard(state: Mapping[str, Any], shard: Shard | None) -> None:
    """Refuse the state of another shard's session.

    Parameters
    ----------
    state : mapping
        A session's state.
    shard : Shard or None
        This rank's; without one nothing is looked at.

    Raises
    ------
    CheckpointError
        The rank, the number of ranks, their sizes or the balance are others.
    """
    if shard is None or not isinstance(state, Mapping):
        return
    for name, here in shard.describe().items():
        saved = state.get(f"pruner.{name}")
        if saved != here:
            msg = (
                f"`{name}` must equal the saved one, saved {saved!r}, here {here!r}; "
                "each rank loads what it has saved"
            )
            raise CheckpointError(msg)


def _all_sum(ranks: Ranks, array: NDArray[Any]) -> NDArray[Any]:
    if ranks.world_size == 1:
        return array
    tensor = torch.from_numpy(np.array(array))
    tensor = tensor.to(group_device(tensor.device, ranks.group))
    dist.all_reduce(tensor, group=ranks.group)
    total: NDArray[Any] = tensor.cpu().numpy()
    return total
