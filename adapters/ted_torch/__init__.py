"""TED for PyTorch; needs the extra ``torch``."""

from __future__ import annotations

try:
    import torch as _torch
except ModuleNotFoundError as error:
    if error.name != "torch":
        raise
    msg = "ted_torch needs PyTorch: pip install 'ted-core[torch]'"
    raise ModuleNotFoundError(msg, name="torch") from None

from ted_torch.buffer import EpochBuffer
from ted_torch.data import CollateWithIds, TEDSampler, WithIds
from ted_torch.losses import mean_loss, per_sample
from ted_torch.masks import mask_gradient, record, tap
from ted_torch.ranks import Ranks, find_ranks, find_shard, merge, shard
from ted_torch.segments import segment_losses, segment_mask
from ted_torch.session import TED

__all__ = [
    "TED",
    "CollateWithIds",
    "EpochBuffer",
    "Ranks",
    "TEDSampler",
    "WithIds",
    "find_ranks",
    "find_shard",
    "mask_gradient",
    "mean_loss",
    "merge",
    "per_sample",
    "record",
    "segment_losses",
    "segment_mask",
    "shard",
    "tap",
]

del _torch
