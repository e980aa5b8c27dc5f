"""Several ranks: who they are, which samples each visits, one collective an epoch."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
import torch.distributed as dist
from numpy.typing import NDArray
from torch import Tensor

from ted_core import Shard

__all__ = ["Ranks", "find_ranks", "group_device", "merge", "shard"]

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
    num_replicas: int | None = None,
    rank: int | None = None,
    group: Any = None,
    *,
    shard: Shard | None = None,
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
    shard : Shard, optional
        This rank's own samples, which it shares with none.

    Returns
    -------
    Ranks
        One rank of one without ``torch.distributed``.

    Raises
    ------
    ValueError, TypeError
        One of `num_replicas` and `rank` is missing or out of range, or they are given
        beside `shard`; this process is not in `group`, or not the shard's rank there.

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
    for name, value, low in (("num_replicas", num_replicas, 1), ("rank", rank, 0)):
        if isinstance(value, bool) or not isinstance(value, int):
            msg = f"`{name}` must be an integer beside its companion, got {value!r}"
            raise TypeError(msg)
        if value < low or (name == "rank" and value >= (num_replicas or 0)):
            msg = f"`{name}` must be at least {low}, a rank below `num_replicas`, got "
            raise ValueError(msg + str(value))
    return Ranks(num_replicas or 1, rank or 0, group, world_size)


def _check_order(order: object, ranks: object) -> None:
    """Refuse what is no epoch's order, or does not say who shares it."""
    if not isinstance(ranks, Ranks):
        msg = f"`ranks` must be a Ranks, got {ranks!r}"
        raise TypeError(msg)
    if not isinstance(order, np.ndarray) or order.dtype.kind not in "iu":
        found = getattr(order, "dtype", type(order).__name__)
        msg = f"`order` must be an array of int, got {found}"
        raise TypeError(msg)
    if order.ndim != 1 or not order.size:
        msg = f"`order` must have shape (k,) with k >= 1, got shape {order.shape}"
        raise ValueError(msg)


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

    Raises
    ------
    TypeError, ValueError
        `order` is no array with one axis and an id, or `ranks` no Ranks.

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
    _check_order(order, ranks)
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
    packed = torch.cat(parts).to(group_device(sums.device, group))
    dist.all_reduce(packed, group=group)
    n, m = sums.numel(), meters.numel()
    sums, counts, flat = packed[:n], packed[n : 2 * n], packed[2 * n :]
    limbs = flat.cpu().long().reshape(m, _LIMBS) << shifts
    return sums, counts, limbs.sum(1)


def group_device(device: torch.device, group: Any) -> torch.device:
    """Return where a tensor must be for a collective of the group.

    Parameters
    ----------
    device : torch.device
        Where it is.
    group : torch.distributed.ProcessGroup or None
        Ranks that take part.

    Returns
    -------
    torch.device
        The current GPU for what is on the CPU and goes through NCCL.
    """
    if device.type == "cpu" and dist.get_backend(group) == dist.Backend.NCCL:
        return torch.device("cuda", torch.cuda.current_device())
    return device
