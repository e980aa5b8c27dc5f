"""TED for PyTorch; needs the extra ``torch``."""

try:
    import torch as _torch
except ModuleNotFoundError as error:
    if error.name != "torch":
        raise
    msg = "ted_torch needs PyTorch: pip install 'ted-core[torch]'"
    raise ModuleNotFoundError(msg, name="torch") from None

from ted_torch.buffer import EpochBuffer
from ted_torch.data import CollateWithIds, TEDSampler, WithIds
from ted_torch.masks import record, tap
from ted_torch.ranks import Ranks, find_shard
from ted_torch.segments import segment_losses, segment_mask
from ted_torch.session import TED

__all__ = [
    "TED",
    "CollateWithIds",
    "EpochBuffer",
    "Ranks",
    "TEDSampler",
    "WithIds",
    "find_shard",
    "record",
    "segment_losses",
    "segment_mask",
    "tap",
]

del _torch
