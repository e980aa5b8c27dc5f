"""Several processes: who they are, which samples each visits, one collective an epoch.

`torch.distributed` calls a process's number its rank.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sized
from contextlib import nullcontext
from dataclasses import dataclass
from functools import partial
from typing import Any, Literal, TypeAlias

import numpy as np
import torch
import torch.distributed as dist
from numpy.typing import NDArray
from torch import Tensor
from torch.utils.data import Dataset

from ted_core import EpochError, Shard
from ted_core._validation import check_int
from ted_torch._validation import count_items

__all__ = ["Ranks", "find_shard"]

# Counters travel as float32 limbs of 12 bits: their sums stay below 2^24, exact.
_LIMBS, _BITS = 4, 12

SPLIT_ALIKE = (
    "split the data alike in each run and on each process, for example by "
    "`random_split(..., generator=torch.Generator().manual_seed(0))`"
)


@dataclass(frozen=True)
class Ranks:
    """The processes of a run.

    Parameters
    ----------
    num_replicas : int, default 1
        Processes that the sampler shares the order among.
    rank : int, default 0
        This process among them, in [0, num_replicas).
    group : torch.distributed.ProcessGroup, optional
        Processes whose scores are merged; None is the default group.
    world_size : int, default 1
        Processes in `group`; 1 merges nothing.

    Notes
    -----
    Sharing and merging are separate: where the framework's loader deals out the
    batches, `num_replicas` is 1 and `world_size` is not.

    Examples
    --------
    >>> from ted_core import Pruner
    >>> from ted_torch import Ranks, TEDSampler
    >>> len(TEDSampler(Pruner(10, epochs=5), ranks=Ranks(num_replicas=2, rank=1)))
    5
    """

    num_replicas: int = 1
    rank: int = 0
    group: Any = None
    world_size: int = 1


def find_ranks(
    num_replicas: int | None = None,
    rank: int | None = None,
    group: Any = None,
    *,
    shard: Shard | None = None,
) -> Ranks:
    """Return this process among those given, else among those of the group."""
    there = dist.is_available() and dist.is_initialized()
    world_size = dist.get_world_size(group) if there else 1
    here = dist.get_rank(group) if there else 0
    if world_size < 1:
        msg = "`group` must hold this process, got a group of others"
        raise ValueError(msg)
    if shard is not None:
        if num_replicas is not None or rank is not None:
            msg = "`num_replicas` and `rank` must not be given beside `shard`"
            raise ValueError(msg)
        if (shard.rank, len(shard.sizes)) != (here, world_size):
            msg = (
                f"`shard` must be that of rank {here} of {world_size} in `group`, got "
                f"that of rank {shard.rank} of {len(shard.sizes)}"
            )
            raise ValueError(msg)
        return Ranks(group=group, world_size=world_size)
    if num_replicas is None and rank is None:
        return Ranks(world_size, here, group, world_size)
    both = "give `num_replicas` and `rank`, or neither"
    replicas = check_int("num_replicas", num_replicas, minimum=1, remedy=both)
    own = check_int("rank", rank, minimum=0, maximum=replicas - 1, remedy=both)
    return Ranks(replicas, own, group, world_size)


def process_of(ranks: Ranks) -> int:
    """Return this process's number in the group whose scores are merged."""
    return dist.get_rank(ranks.group) if ranks.world_size > 1 else 0


def share_of(order: NDArray[Any], ranks: Ranks) -> NDArray[Any]:
    """Return this process's share of an order: every `num_replicas`-th id."""
    step = ranks.num_replicas
    length = -(-order.size // step)
    if order.size == length * step:
        return order[ranks.rank :: step]
    # All shares are as long: the first ids are given out again.
    return order[np.arange(ranks.rank, length * step, step) % order.size]


Parts: TypeAlias = tuple[Tensor, Tensor, Tensor, Tensor]
"""Sums, counts, deliveries and weightless samples, each of shape (n,)."""


def merge(parts: Parts, counters: Tensor, *, group: Any = None) -> tuple[Parts, Tensor]:
    """Add the buffers of all processes, in one collective of 12 bytes a sample."""
    # The totals have the same bits on every process; those of counters in [0, 2^48) are
    # exact, on up to 4,096 processes.
    sums, counts, deliveries, weightless = parts
    # Weight 0 matters where there is no value: up to 255 the sum of the counts leaves
    # it the last 12 bits.
    marks = counts.float() + (weightless > 0) * 2.0**-_BITS
    # Ids are positions in the tensor and never numbers: they stay exact beyond 2^24.
    shifts = _BITS * torch.arange(_LIMBS, device="cpu")
    limbs = (counters.cpu()[:, None] >> shifts) & (2**_BITS - 1)
    limbs = limbs.flatten().to(sums.device, torch.float32)
    packed = torch.cat([sums, marks, deliveries.float(), limbs])
    packed = packed.to(_group_device(sums.device, group))
    dist.all_reduce(packed, group=group)
    n, m = sums.numel(), counters.numel()
    sums, marks, deliveries, flat = torch.split(packed, [n, n, n, m * _LIMBS])
    counts = marks.floor()
    limbs = flat.cpu().long().reshape(m, _LIMBS) << shifts
    return (sums, counts, deliveries, marks > counts), limbs.sum(1)


def _group_device(device: torch.device, group: Any) -> torch.device:
    """Return where a tensor must be for a collective: NCCL takes none on the CPU."""
    if device.type == "cpu" and dist.get_backend(group) == dist.Backend.NCCL:
        return torch.device("cuda", torch.cuda.current_device())
    return device


def check_made_in_time(ranks: Ranks) -> None:
    """Refuse processes that were found before ``torch.distributed`` was set up."""
    if ranks.world_size > 1 or ranks.group is not None or not dist.is_available():
        return
    if dist.is_initialized() and dist.get_world_size() > 1:
        msg = (
            f"a session must be made after `init_process_group`, got one made for one "
            f"process among {dist.get_world_size()}; to train each by itself give it "
            "`num_replicas=1, rank=0` and a `group` of its own"
        )
        raise EpochError(msg)


def all_gather(facts: Any, ranks: Ranks, *, device: torch.device) -> list[Any]:
    """Return what every process gives, in their order: one exchange of all."""
    if ranks.world_size == 1:
        return [facts]
    here = torch.cuda.device(device) if device.type == "cuda" else nullcontext()
    with here:
        everyone: list[Any] = [None] * ranks.world_size
        dist.all_gather_object(everyone, facts, group=ranks.group)
    return everyone


def check_equal_across_ranks(
    facts: Mapping[str, Any],
    ranks: Ranks,
    *,
    device: torch.device,
    names: Collection[str] | None = None,
) -> list[Mapping[str, Any]]:
    """Return all processes' facts; refuse, on each, a name in which they differ."""
    everyone = all_gather(facts, ranks, device=device)
    for other, theirs in enumerate(everyone):
        for name in facts if names is None else names:
            value = everyone[0].get(name)
            if theirs.get(name) != value:
                msg = (
                    f"`{name}` must be the same on all processes, got {value!r} on "
                    f"process 0 and {theirs.get(name)!r} on process {other}"
                )
                if name == "fingerprint":
                    msg += f": ids would mean other samples; {SPLIT_ALIKE}"
                raise EpochError(msg)
    return everyone


def find_shard(
    dataset: Dataset[Any] | Sized,
    *,
    balance: Literal["exact", "per_rank"] = "exact",
    group: Any = None,
    device: torch.device | str = "cpu",
) -> Shard:
    """Return this process's position among data of which each one has its own part.

    Parameters
    ----------
    dataset : map-style data set
        The samples of this process, which no other process has.
    balance : {"exact", "per_rank"}, default "exact"
        Whether an epoch's samples are chosen from those of all processes together, or
        by each process from its own.
    group : torch.distributed.ProcessGroup, optional
        Processes that train together; None is the default group, if there is one.
    device : torch.device or str, default "cpu"
        Where this process computes.

    Returns
    -------
    Shard
        To give to :class:`TED` on every process.

    Raises
    ------
    EpochError, ValueError
        On every process: another one has another `balance` or makes a session without a
        shard; a shard is empty, or over 255 times as large as another.
    TypeError
        `dataset` has no length.

    Notes
    -----
    One exchange of the sizes, in which all processes take part. Later, an epoch's
    samples are found in at most 12 sums of 2 kB, whatever the number of samples, beside
    some of a few numbers.

    Examples
    --------
    >>> from ted_torch import find_shard
    >>> find_shard(range(100))
    Shard(sizes=(100,), rank=0, balance='exact')
    """
    size = count_items(dataset)
    ranks = find_ranks(group=group)
    facts, where = {"shard": str(balance), "size": size}, torch.device(device)
    everyone = check_equal_across_ranks(facts, ranks, device=where, names=["shard"])
    sizes = tuple(int(theirs["size"]) for theirs in everyone)
    return Shard(sizes, ranks.rank, partial(all_reduce_sum, ranks), balance=balance)


def all_reduce_sum(ranks: Ranks, array: NDArray[Any]) -> NDArray[Any]:
    """Add a NumPy array over the processes."""
    if ranks.world_size == 1:
        return array
    tensor = torch.from_numpy(np.array(array))
    tensor = tensor.to(_group_device(tensor.device, ranks.group))
    dist.all_reduce(tensor, group=ranks.group)
    total: NDArray[Any] = tensor.cpu().numpy()
    return total
