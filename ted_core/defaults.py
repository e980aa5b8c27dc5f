"""TED's defaults, where one option decides another."""

from __future__ import annotations

from typing import TypedDict, Unpack

from numpy.typing import ArrayLike

from ted_core._checks import as_array
from ted_core.config import RunConfig
from ted_core.methods import find_method
from ted_core.reductions import Reduction
from ted_core.schedules import RollerCoaster, Schedule
from ted_core.shards import Shard
from ted_core.signals import default_reduction
from ted_core.strategies import Strategy

__all__ = ["RunOptions", "make_config"]


class RunOptions(TypedDict, total=False):
    """Options of :class:`ted_core.Pruner` that have a default."""

    prune_ratio: float | None
    schedule: Schedule | None
    method: str | None
    strategy: Strategy | None
    signal: str | None
    reduction: Reduction | None
    seed: int
    multiple_of: int
    scale_loss: bool
    labels: ArrayLike | None


def make_config(
    n: int, epochs: int, shard: Shard | None = None, **options: Unpack[RunOptions]
) -> RunConfig:
    """Return the configuration with TED's defaults filled in.

    Parameters
    ----------
    n, epochs : int
        Samples and epochs.
    shard : Shard, optional
        This rank's part of all samples.
    **options : see :class:`ted_core.Pruner`
        The rest; what is not given takes its default.

    Returns
    -------
    RunConfig
        Checked.

    Raises
    ------
    ValueError, TypeError
        As :class:`RunConfig`; or an option is unknown, or `schedule` is given beside
        `prune_ratio`, or `method` beside `signal` or `strategy`.
    """
    unknown = sorted(set(options) - set(RunOptions.__annotations__))
    if unknown:
        known = ", ".join(RunOptions.__annotations__)
        msg = f"`{unknown[0]}` is no option; the options are {known}"
        raise TypeError(msg)
    prune_ratio, schedule = options.get("prune_ratio"), options.get("schedule")
    if schedule is not None and prune_ratio is not None:
        msg = (
            f"`prune_ratio` must not be given beside `schedule`, got {prune_ratio!r} "
            f"and {schedule!r}; give it to the schedule"
        )
        raise ValueError(msg)
    if schedule is None:
        schedule = RollerCoaster(0.7 if prune_ratio is None else prune_ratio)
    strategy, signal = options.get("strategy"), options.get("signal")
    method = options.get("method")
    for name, value in (("strategy", strategy), ("signal", signal)):
        if method is not None and value is not None:
            msg = (
                f"`{name}` must not be given beside `method`, which names both signal "
                f"and strategy, got {value!r} and {method!r}"
            )
            raise ValueError(msg)
    default_signal, default_strategy = find_method("ted" if method is None else method)
    strategy = default_strategy if strategy is None else strategy
    signal = default_signal if signal is None else signal
    reduction = options.get("reduction")
    if reduction is None:
        reduction = getattr(strategy, "reduction", None) or default_reduction(signal)
    labels = options.get("labels")
    return RunConfig(
        n=n,
        epochs=epochs,
        schedule=schedule,
        strategy=strategy,
        signal=signal,
        reduction=reduction,
        seed=options.get("seed", 0),
        multiple_of=options.get("multiple_of", 1),
        scale_loss=options.get("scale_loss", True),
        labels=None if labels is None else as_array("labels", labels).copy(),
        shard=shard,
    )
