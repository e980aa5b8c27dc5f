"""What a run is, fixed before it starts: checked once, compared on resume."""

from __future__ import annotations

import warnings
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Unpack

import numpy as np
from numpy.typing import NDArray

from ted_core._checks import (
    check_bool,
    check_epochs,
    check_int,
    check_kind,
    check_samples,
)
from ted_core.counts import StepOptions, keep_count, steps_for
from ted_core.errors import TedWarning
from ted_core.labels import check_labels, labels_checksum
from ted_core.reductions import Reduction
from ted_core.savings import planned_save_ratio
from ted_core.schedules import Schedule, keep_ratios
from ted_core.shards import Shard, check_shard
from ted_core.signals import check_pairs
from ted_core.strategies import Strategy
from ted_core.typing import State

__all__ = ["RunConfig", "StepOptions"]

_FEW_EPOCHS = 5
_TABLE = np.dtype(
    [
        ("epoch", np.int64),
        ("keep_ratio", np.float64),
        ("kept", np.int64),
        ("keep_fraction", np.float64),
        ("loss_scale", np.float64),
    ]
)


@dataclass(frozen=True, eq=False)
class RunConfig:
    """The parameters of a run; see :class:`ted_core.Pruner` for their meaning.

    Parameters
    ----------
    n, epochs : int
        Samples and epochs.
    schedule : Schedule
        Keep ratios.
    strategy : Strategy
        Which samples are kept.
    signal : str
        What is observed of a sample.
    reduction : Reduction
        How its values become a score.
    seed : int
        Seed of order, draws and ties.
    multiple_of : int
        Kept counts are rounded up to a multiple of this.
    scale_loss : bool
        Whether the loss is divided by the keep ratio.
    labels : ndarray of int, shape (n,), or None
        Class of each sample.
    shard : Shard, optional
        This rank's part of all samples; the `n` samples are that.

    Raises
    ------
    ValueError, TypeError
        A parameter is out of its range, or two do not go together, by name.
    """

    n: int
    epochs: int
    schedule: Schedule
    strategy: Strategy
    signal: str
    reduction: Reduction
    seed: int
    multiple_of: int
    scale_loss: bool
    labels: NDArray[np.signedinteger[Any]] | None = None
    shard: Shard | None = None

    def __post_init__(self) -> None:
        """Refuse what makes no run."""
        for name, value in (
            ("epochs", check_epochs(self.epochs)),
            ("n", check_samples(self.n)),
            ("seed", check_int("seed", self.seed, minimum=0, maximum=2**64 - 1)),
            ("scale_loss", check_bool("scale_loss", self.scale_loss)),
            ("multiple_of", check_int("multiple_of", self.multiple_of, minimum=1)),
        ):
            object.__setattr__(self, name, value)
        for name, kind in (
            ("schedule", Schedule),
            ("strategy", Strategy),
            ("reduction", Reduction),
        ):
            check_kind(name, getattr(self, name), kind)
        check_pairs(self.signal, self.strategy, self.reduction)
        check_labels(self.labels, self.n)
        if self.shard is not None:
            check_shard(self.shard, self.n, self.strategy)
        self.strategy.check(self.n, int(self.kept_counts.min()), self.labels)
        if self.epochs < _FEW_EPOCHS:
            saved = planned_save_ratio(
                self.schedule, self.epochs, n=self.n, multiple_of=self.multiple_of
            )
            most = "" if self.strategy.known_count else "at most "
            msg = (
                f"`epochs`={self.epochs} saves little: {most}{saved:.1%} of the "
                "samples are planned to be saved; pruning pays over many epochs"
            )
            warnings.warn(msg, TedWarning, stacklevel=4)

    @property
    def together(self) -> Shard | None:
        """The rank's part, if the samples are chosen from those of all ranks."""
        return self.shard if self.shard is not None and self.shard.exact else None

    @property
    def known_count(self) -> bool:
        """Whether the schedule alone tells how many samples a rank trains on."""
        return self.strategy.known_count and self.together is None

    @cached_property
    def keep_ratios(self) -> NDArray[np.float64]:
        """Nominal keep ratio of each epoch, shape (epochs,)."""
        return keep_ratios(self.schedule, self.epochs)

    @cached_property
    def kept_counts(self) -> NDArray[np.int64]:
        """Samples each epoch keeps by the schedule, shape (epochs,)."""
        return self._counts_of(self.n if self.together is None else self.together.total)

    def _counts_of(self, n: int) -> NDArray[np.int64]:
        counts = [
            keep_count(n, float(ratio), multiple_of=self.multiple_of)
            for ratio in self.keep_ratios
        ]
        return np.array(counts, np.int64)

    def total_steps(self, batch_size: int, **options: Unpack[StepOptions]) -> int:
        """Count the optimizer steps of the whole run, before it starts.

        Parameters
        ----------
        batch_size : int
            Samples of one batch on one rank.
        **options : int, int and bool
            ``accumulation``, ``world_size``, ``drop_last`` of
            :func:`ted_core.steps_for`.

        Returns
        -------
        int
            Optimizer steps of all epochs.

        Raises
        ------
        ValueError, TypeError
            An argument is out of range, or the counts depend on the scores, as over
            shards: :meth:`max_total_steps` gives the bound then.
        """
        self._refuse_unknown("total_steps")
        return self.max_total_steps(batch_size, **options)

    def max_total_steps(self, batch_size: int, **options: Unpack[StepOptions]) -> int:
        """Bound the optimizer steps: :meth:`total_steps`, or those of full data.

        Parameters
        ----------
        batch_size : int
            Samples of one batch on one rank.
        **options : int, int and bool
            ``accumulation``, ``world_size``, ``drop_last`` of
            :func:`ted_core.steps_for`.

        Returns
        -------
        int
            Steps that the run never exceeds.
        """
        counts = self.kept_counts
        most = self.n
        if self.shard is not None:
            # A rank trains on its own shard, as long as the one that keeps most.
            options["world_size"] = 1
            most = max(self.shard.sizes)
            counts = counts if self.together else self._counts_of(most)
        if not self.strategy.known_count:
            counts = np.full_like(counts, most)
        longest = np.minimum(counts, most).tolist()
        return sum(steps_for(count, batch_size, **options) for count in longest)

    def _refuse_unknown(self, name: str) -> None:
        if not self.known_count:
            over = "" if self.together is None else " over shards"
            msg = (
                f"`{name}` needs a strategy with a known count, got "
                f"{self.strategy!r}{over}; `max_total_steps` gives the bound"
            )
            raise ValueError(msg)

    def schedule_table(self) -> NDArray[np.void]:
        """Return what the schedule says of every epoch, ahead of time.

        Returns
        -------
        structured ndarray, shape (epochs,)
            Fields ``epoch``, ``keep_ratio`` (nominal r_t), ``kept`` (samples),
            ``keep_fraction`` (kept / n) and ``loss_scale``.

        Raises
        ------
        ValueError
            The counts depend on the scores.
        """
        self._refuse_unknown("schedule_table")
        table = np.empty(self.epochs, _TABLE)
        table["epoch"] = np.arange(self.epochs)
        table["keep_ratio"] = self.keep_ratios
        table["kept"] = self.kept_counts
        table["keep_fraction"] = table["kept"] / self.n
        scaled = self.scale_loss and self.strategy.scales_loss
        table["loss_scale"] = 1 / table["keep_ratio"] if scaled else 1.0
        return table

    def describe(self) -> State:
        """Return the configuration as plain values, for states and comparisons."""
        return {
            "n": self.n,
            "epochs": self.epochs,
            "schedule": repr(self.schedule),
            "strategy": repr(self.strategy),
            "signal": self.signal,
            "reduction": repr(self.reduction),
            "seed": str(self.seed),
            "multiple_of": self.multiple_of,
            "scale_loss": self.scale_loss,
            "labels": labels_checksum(self.labels),
            **({} if self.shard is None else self.shard.describe()),
        }
