"""One state of all ranks, for hosts that save that of the first alone."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from ted_torch.distributed import merge

__all__ = ["emptied", "is_open", "pool"]

_BUFFER = "buffer."


def is_open(state: Mapping[str, Any]) -> bool:
    """Tell whether a session's state is of an epoch that has received samples.

    Parameters
    ----------
    state : mapping
        What ``TED.state_dict()`` returned.

    Returns
    -------
    bool
        False also for a state that lacks the field: the session refuses it.
    """
    meters = state.get(f"{_BUFFER}meters")
    return isinstance(meters, Tensor) and meters.numel() > 0 and bool(meters[0] > 0)


def emptied(state: Mapping[str, Any]) -> dict[str, Any]:
    """Return a state whose open epoch has recorded nothing yet.

    Parameters
    ----------
    state : mapping
        A pooled state, which the first rank takes as it is.

    Returns
    -------
    dict
        The same position in the same epoch.
    """
    return {
        name: torch.zeros_like(value)
        if name.startswith(_BUFFER) and isinstance(value, Tensor)
        else value
        for name, value in state.items()
    }


def pool(state: Mapping[str, Any], group: Any = None) -> dict[str, Tensor]:
    """Add up what the ranks of an open epoch have recorded.

    Parameters
    ----------
    state : mapping
        What ``TED.state_dict()`` returned on this rank.
    group : torch.distributed.ProcessGroup, optional
        Ranks that take part, all of them; None is the default group.

    Returns
    -------
    dict of str to Tensor
        The buffer's fields, on the CPU, alike on every rank.

    Notes
    -----
    One collective of 8 bytes a sample, two with mixed batches. A sample that one rank
    recorded keeps its bits.
    """
    sums, counts, meters = (
        state[f"{_BUFFER}{name}"] for name in ("sums", "counts", "meters")
    )
    shares = state.get(f"{_BUFFER}shares")
    mixed = torch.tensor([shares is not None], dtype=torch.int64)
    total, times, flat = merge(sums, counts, torch.cat([meters, mixed]), group=group)
    out = {
        "sums": total.cpu(),
        "counts": times.to("cpu", torch.int64).to(torch.uint8),
        "meters": flat[:-1].cpu(),
    }
    if int(flat[-1]):
        # What was recorded before the first mixed batch weighs 1.
        mine = counts.float() if shares is None else shares
        out["shares"] = merge(mine, counts, meters, group=group)[0].cpu()
    return {f"{_BUFFER}{name}": value for name, value in out.items()}
