"""What a run is, fixed before it starts: checked once, compared on resume."""

from __future__ import annotations

import warnings
import zlib
from dataclasses import dataclass
from functools import cached_property
from typing import Any, TypedDict, Unpack

import numpy as np
from numpy.typing import NDArray

from ted_core._checks import check_epochs, check_int
from ted_core.counts import keep_count, steps_for
from ted_core.errors import TedWarning
from ted_core.reductions import Reduction
from ted_core.savings import planned_save_ratio
from ted_core.schedules import Schedule, keep_ratios
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


class StepOptions(TypedDict, total=False):
    """Options of :func:`ted_core.steps_for`."""

    accumulation: int
    world_size: int
    drop_last: bool


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

    def __post_init__(self) -> None:
        """Refuse what makes no run."""
        empty = "an empty data set cannot be pruned"
        for name, value in (
            ("epochs", check_epochs(self.epochs)),
            ("n", check_int("n", self.n, minimum=1, remedy=empty)),
            ("seed", check_int("seed", self.seed, minimum=0, maximum=2**64 - 1)),
            ("multiple_of", check_int("multiple_of", self.multiple_of, minimum=1)),
        ):
            object.__setattr__(self, name, value)
        for name, kind in (
            ("schedule", Schedule),
            ("strategy", Strategy),
            ("reduction", Reduction),
        ):
            value = getattr(self, name)
            if isinstance(value, type) or not isinstance(value, kind):
                msg = f"`{name}` must be a {kind.__name__}, got {value!r}"
                raise TypeError(msg)
        check_pairs(self.signal, self.strategy, self.reduction)
        if not isinstance(self.scale_loss, bool):
            msg = f"`scale_loss` must be True or False, got {self.scale_loss!r}"
            raise TypeError(msg)
        self._check_labels()
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

    def _check_labels(self) -> None:
        if self.labels is None:
            return
        if self.labels.shape != (self.n,) or self.labels.dtype.kind not in "iu":
            msg = (
                f"`labels` must hold integers of shape ({self.n},), got "
                f"{self.labels.dtype} of shape {self.labels.shape}"
            )
            raise ValueError(msg)

    @cached_property
    def keep_ratios(self) -> NDArray[np.float64]:
        """Nominal keep ratio of each epoch, shape (epochs,)."""
        return keep_ratios(self.schedule, self.epochs)

    @cached_property
    def kept_counts(self) -> NDArray[np.int64]:
        """Samples each epoch keeps by the schedule, shape (epochs,)."""
        counts = [
            keep_count(self.n, float(ratio), multiple_of=self.multiple_of)
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
            An argument is out of range, or the strategy's counts depend on the
            scores: :meth:`max_total_steps` gives the bound then.
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
        if not self.strategy.known_count:
            counts = np.full_like(counts, self.n)
        return sum(steps_for(int(count), batch_size, **options) for count in counts)

    def _refuse_unknown(self, name: str) -> None:
        if not self.strategy.known_count:
            msg = (
                f"`{name}` needs a strategy with a known count, got "
                f"{self.strategy!r}; `max_total_steps` gives the bound"
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
            The strategy's counts depend on the scores.
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
            "labels": _checksum(self.labels),
        }


def _checksum(labels: NDArray[np.signedinteger[Any]] | None) -> int:
    return -1 if labels is None else zlib.crc32(labels.astype("<i8").tobytes())
