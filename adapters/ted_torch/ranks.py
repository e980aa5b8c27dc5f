"""Several ranks: who they are, which samples each visits, one collective an epoch."""

from __future__ import annotations

from collections.abc import Mapping, Sequence, Sized
from contextlib import nullcontext
from dataclasses import dataclass
from functools import partial
from typing import Any, Literal

import numpy as np
import torch
import torch.distributed as dist
from numpy.typing import NDArray
from torch import Tensor
from torch.utils.data import Dataset

from ted_core import CheckpointError, EpochError, Pruner, Shard, Static, __version__
from ted_torch._validation import count_items

__all__ = [
    "Ranks",
    "agree",
    "check_made_in_time",
    "check_same_shard",
    "exchange",
    "find_ranks",
    "find_shard",
    "group_device",
    "merge",
    "refuse_unlike",
    "run_facts",
    "shard",
]

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
    own = set(_OWN)
    if isinstance(config.strategy, Static):
        own |= {"strategy.n", "strategy.checksum"}
    return {name: fact for name, fact in facts.items() if name not in own}


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
