"""What a training of the demo is made of."""

from __future__ import annotations

from dataclasses import dataclass

from ted_core import demo

__all__ = ["Settings"]


@dataclass(frozen=True, kw_only=True)
class Settings(demo.Settings):
    """What a training is made of; see `ted_core.demo.Settings`.

    Parameters
    ----------
    device : str, default "cpu"
        Where to train.
    """

    device: str = "cpu"
