"""What a training of the adapters' demos is made of, and what it brought."""

from __future__ import annotations

from dataclasses import dataclass

from ted_core.demo.training import Run
from ted_core.strategies import Random, Strategy, TopScore

__all__ = ["VARIANTS", "Settings", "TimedRun"]

VARIANTS: dict[str, Strategy | None] = {
    "full": None,
    "random": Random(),
    "TED": TopScore(),
}
"""What each variant keeps; None is a plain training on all data."""


@dataclass(frozen=True, kw_only=True)
class Settings:
    """What a training is made of.

    Parameters
    ----------
    epochs : int
        Epochs, at least 2.
    prune_ratio : float
        Largest share of the samples that an epoch leaves out, in [0, 1).
    batch_size : int
        Samples of one step.
    width : int
        Channels of the network's first stage.
    learning_rate : float, default 0.05
        Peak of the one-cycle schedule. With SGD the factor 1 / r_t multiplies the
        step, here by up to 1 / (1 - prune_ratio).
    momentum : float, default 0.9
        Nesterov momentum.
    weight_decay : float, default 0.0005
        Weight decay.
    """

    epochs: int
    prune_ratio: float
    batch_size: int
    width: int
    learning_rate: float = 0.05
    momentum: float = 0.9
    weight_decay: float = 5e-4


@dataclass(frozen=True, eq=False, kw_only=True)
class TimedRun(Run):
    """What one training brought, measured; see `ted_core.demo.Run`.

    Parameters
    ----------
    epoch_cpu_seconds : list of float
        Processor time of each epoch, over all threads: what remains comparable when
        a machine has other work.
    epoch_samples : list of int
        Samples that each epoch forwarded.
    """

    epoch_cpu_seconds: list[float]
    epoch_samples: list[int]
