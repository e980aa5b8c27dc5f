"""Several ranks: who they are, which samples each visits, one collective an epoch."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import nullcontext
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
import torch.distributed as dist
from numpy.typing import NDArray
from torch import Tensor

from ted_core import EpochError

__all__ = ["Ranks", "agree", "check_made_in_time", "find_ranks", "merge", "shard"]

_LIMBS, _BITS = 4, 12


@dataclass(frozen=True)
class Ranks:
    """The processes of a run.

    Parameters
    ----------
    num_replicas : int, default 1
        Ranks that the sampler shares the order among.
    rank : int, default 0
        This process among them, in [0, num_replicas).
    group : torch.distributed.ProcessGroup, optional
        Ranks whose scores are merged; None is the default group.
    world_size : int, default 1
        Ranks in `group`; 1 merges nothing.

    Notes
    -----
    Sharing and merging are separate: where the host's loader deals out the batches,
    `num_replicas` is 1 and `world_size` is not.
    """

    num_replicas: int = 1
    rank: int = 0
    group: Any = None
    world_size: int = 1


def find_ranks(
    num_replicas: int | None = None, rank: int | None = None, group: Any = None
) -> Ranks:
    """Return the ranks of this process: those given, else those of the group.

    Parameters
    ----------
    num_replicas : int, optional
        Ranks that share the order; by default those of `group`.
    rank : int, optional
        This process among them; by default its rank in `group`.
    group : torch.distributed.ProcessGroup, optional
        Ranks whose scores are merged; None is the default group, if there is one.

    Returns
    -------
    Ranks
        One rank of one without ``torch.distributed``.

    Raises
    ------
    ValueError, TypeError
        One of `num_replicas` and `rank` is missing or out of range, or this process
        is not in `group`.

    Examples
    --------
    >>> from ted_torch import find_ranks
    >>> find_ranks()
    Ranks(num_replicas=1, rank=0, group=None, world_size=1)
    """
    there = dist.is_available() and dist.is_initialized()
    world_size = dist.get_world_size(group) if there else 1
    here = dist.get_rank(group) if there else 0
    if world_size < 1:
        msg = "`group` must hold this process, got a group of others"
        raise ValueError(msg)
    if num_replicas is None and rank is None:
        return Ranks(world_size, here, group, world_size)
    for name, value, low in (("num_replicas", num_replicas, 1), ("rank", rank, 0)):
        if isinstance(value, bool) or not isinstance(value, int):
            msg = f"`{name}` must be an integer beside its companion, got {value!r}"
            raise TypeError(msg)
        if value < low or (name == "rank" and value >= (num_replicas or 0)):
            msg = f"`{name}` must be at least {low}, a rank below `num_replicas`, got "
            raise ValueError(msg + str(value))
    return Ranks(num_replicas or 1, rank or 0, group, world_size)


def shard(order: NDArray[Any], ranks: Ranks) -> NDArray[Any]:
    """Return one rank's share of an epoch's order: every `num_replicas`-th id.

    Parameters
    ----------
    order : ndarray of int, shape (k,)
        The epoch's order, at least one id.
    ranks : Ranks
        Who shares it.

    Returns
    -------
    ndarray of int, shape (ceil(k / num_replicas),)
        As long on every rank: the first ids are given out again to make it even, as
        ``torch.utils.data.DistributedSampler`` does. Repeated ids are averaged.

    Notes
    -----
    A view, but for the ranks that repeat an id. O(1), or O(k / num_replicas).

    Examples
    --------
    >>> import numpy as np
    >>> from ted_torch import Ranks, shard
    >>> order = np.array([4, 2, 9, 7])
    >>> [shard(order, Ranks(3, rank)).tolist() for rank in range(3)]
    [[4, 7], [2, 4], [9, 2]]
    """
    step, rank = ranks.num_replicas, ranks.rank
    part = order[rank::step]
    length = -(-order.size // step)
    if part.size == length:
        return part
    again = order[(rank + (length - 1) * step) % order.size]
    return np.append(part, again).astype(order.dtype, copy=False)


def merge(
    sums: Tensor, counts: Tensor, meters: Tensor, *, group: Any = None
) -> tuple[Tensor, Tensor, Tensor]:
    """Add the buffers of all ranks, in one collective.

    Parameters
    ----------
    sums : Tensor of float32, shape (n,)
        Sum of each sample's values on this rank.
    counts : Tensor of uint8, shape (n,)
        Times each sample was recorded on this rank.
    meters : Tensor of int64, shape (m,)
        Counters in [0, 2^48).
    group : torch.distributed.ProcessGroup, optional
        Ranks that take part, up to 4,096; None is the default group.

    Returns
    -------
    sums, counts : Tensor of float32, shape (n,)
        Totals, with the same bits on every rank.
    meters : Tensor of int64, shape (m,)
        Totals, exact.

    Notes
    -----
    Sums one float32 tensor of 2 n + 4 m numbers: ids are places in it and never
    numbers, so that they stay exact beyond 2^24; the meters travel in limbs of 12 bits.
    """
    shifts = _BITS * torch.arange(_LIMBS, device="cpu")
    limbs = (meters.cpu()[:, None] >> shifts) & (2**_BITS - 1)
    parts = [sums, counts.float(), limbs.flatten().to(sums.device, torch.float32)]
    packed = torch.cat(parts).to(_device(sums.device, group))
    dist.all_reduce(packed, group=group)
    n, m = sums.numel(), meters.numel()
    sums, counts, flat = packed[:n], packed[n : 2 * n], packed[2 * n :]
    limbs = flat.cpu().long().reshape(m, _LIMBS) << shifts
    return sums, counts, limbs.sum(1)


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
    if ranks.world_size == 1:
        return
    here = torch.cuda.device(device) if device.type == "cuda" else nullcontext()
    with here:
        everyone: list[Any] = [None] * ranks.world_size
        dist.all_gather_object(everyone, dict(facts), group=ranks.group)
    for other, theirs in enumerate(everyone):
        for name, value in everyone[0].items():
            if theirs.get(name) != value:
                msg = (
                    f"`{name}` must be the same on all ranks, got {value!r} on rank 0 "
                    f"and {theirs.get(name)!r} on rank {other}"
                )
                raise EpochError(msg)


def _device(device: torch.device, group: Any) -> torch.device:
    if device.type == "cpu" and dist.get_backend(group) == dist.Backend.NCCL:
        return torch.device("cuda", torch.cuda.current_device())
    return device
