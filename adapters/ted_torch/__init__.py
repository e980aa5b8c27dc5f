"""TED for PyTorch; needs the extra ``torch``."""

from __future__ import annotations

try:
    import torch as _torch
except ModuleNotFoundError as error:
    if error.name != "torch":
        raise
    msg = "ted_torch needs PyTorch: pip install 'ted-core[torch]'"
    raise ModuleNotFoundError(msg, name="torch") from None

from ted_torch.datasets import WithIds

__all__ = ["WithIds"]

del _torch
