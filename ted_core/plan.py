"""One epoch's plan: all that an adapter needs to run it."""

from __future__ import annotations

import zlib
from dataclasses import dataclass
from functools import partial
from typing import Unpack

import numpy as np
from numpy.typing import NDArray

from ted_core._scores import ScoreTable
from ted_core._validation import check_real
from ted_core.config import RunConfig
from ted_core.schedules import StepOptions, steps_for
from ted_core.selection._randomness import ORDER, stream
from ted_core.selection.sharded import loss_factor
from ted_core.selection.top_k import pieces
from ted_core.strategies import Request
from ted_core.typing import Ids

__all__ = ["EpochPlan", "loss_scale"]

_MAX_BATCHES = 50  # of a megabatch: more would pad less, and shuffle less
_MIN_MEGABATCHES = 4


@dataclass(frozen=True, eq=False, repr=False)
class EpochPlan:
    """What one epoch trains on, in which order, and how its loss is scaled.

    Parameters
    ----------
    epoch, epochs : int
        This epoch, from 0, and the epochs of the run.
    n : int
        Samples in the data set.
    keep_ratio : float
        Nominal keep ratio r_t (Eq. 21).
    loss_scale : float
        Factor of the data loss: 1 / r_t (Eq. 23), or 1.
    order : ndarray of int32 or int64, shape (k,)
        Kept ids in this epoch's order; read-only.
    weights : ndarray of float32, shape (k,), or None
        Weight of each sample's loss, aligned with `order`; None means 1.
    kept_by_rank : tuple of int, default ()
        Samples that each process keeps, where each has a shard of its own; n, the order
        and the loss scale are this process's then.

    Notes
    -----
    4 bytes a kept sample (8 above 2^31 samples).
    Source: TED, ECAI 2024, Algorithm 1, lines 2 and 3.

    Examples
    --------
    >>> from ted_core import Pruner
    >>> plan = Pruner(1000, epochs=10, prune_ratio=0.7).plan()
    >>> plan
    EpochPlan(epoch=0 of 10, keeps 1000 of 1000, loss_scale=1)
    >>> plan.steps(128)
    8
    """

    epoch: int
    epochs: int
    n: int
    keep_ratio: float
    loss_scale: float
    order: Ids
    weights: NDArray[np.float32] | None = None
    kept_by_rank: tuple[int, ...] = ()

    def __post_init__(self) -> None:
        """Make the arrays read-only."""
        self.order.setflags(write=False)
        if self.weights is not None:
            self.weights.setflags(write=False)

    def __repr__(self) -> str:
        """Return the epoch and its counts as text."""
        return (
            f"EpochPlan(epoch={self.epoch} of {self.epochs}, keeps "
            f"{self.order.size} of {self.n}, loss_scale={self.loss_scale:.4g})"
        )

    def __len__(self) -> int:
        """Count the kept samples."""
        return int(self.order.size)

    @property
    def kept(self) -> Ids:
        """Kept ids, ascending: sorted anew at each call, O(k log k)."""
        return np.sort(self.order)

    @property
    def keep_fraction(self) -> float:
        """Share of the data that is really kept, after rounding."""
        return self.order.size / self.n

    @property
    def visited(self) -> int:
        """Samples of each process's epoch: as many as the one that keeps most has."""
        return max(self.kept_by_rank, default=self.order.size)

    @property
    def imbalance(self) -> float:
        """Share of all processes' samples that repeat one, to keep in step."""
        kept = self.kept_by_rank
        return 1 - sum(kept) / (len(kept) * self.visited) if kept else 0.0

    @property
    def checksum(self) -> int:
        """CRC-32 of the order as little-endian int64; a resumed epoch compares it."""
        crc = 0
        for part in pieces(self.order.size):
            crc = zlib.crc32(self.order[part].astype("<i8").tobytes(), crc)
        return crc

    def steps(self, batch_size: int, **options: Unpack[StepOptions]) -> int:
        """Count this epoch's optimizer steps.

        Parameters
        ----------
        batch_size : int
            Samples of one batch on one process.
        **options : int, int and bool
            ``accumulation``, ``world_size``, ``drop_last`` of
            :func:`ted_core.steps_for`; a shard's order is shared by one process.

        Raises
        ------
        ValueError, TypeError
            An argument is not an integer in its range.
        """
        if self.kept_by_rank:
            options["world_size"] = 1
        return steps_for(self.visited, batch_size, **options)


def loss_scale(keep_ratio: float) -> float:
    r"""Return the factor of the loss on the kept data, 1 / r_t (Eq. 23).

    Parameters
    ----------
    keep_ratio : float
        Nominal keep ratio r_t, in (0, 1].

    Returns
    -------
    float
        Factor, at least 1.

    Raises
    ------
    ValueError, TypeError
        `keep_ratio` is not a number in (0, 1].

    Notes
    -----
    Optimisers that ignore the loss's scale (Adam, AdamW, LARS, LAMB) do not see a
    constant one; under SGD it multiplies the step, up to 1 / (1 - s).
    Source: TED, ECAI 2024, Eq. 23.

    Examples
    --------
    >>> from ted_core import loss_scale
    >>> loss_scale(0.5)
    2.0
    """
    return 1.0 / check_real("keep_ratio", keep_ratio, low=0, high=1, closed="right")


def make_plan(config: RunConfig, table: ScoreTable, epoch: int) -> EpochPlan:
    """Return the plan of an epoch, which over shards all processes make together."""
    layout = config.layout
    selection = config.strategy.select(
        Request(
            n=config.n,
            count=int(config.kept_counts[epoch]),
            keep_ratio=float(config.keep_ratios[epoch]),
            epoch=epoch,
            seed=layout.selection_seed(config.seed),
            ranking=partial(table.ranking, layout.selector),
            columns=table.columns,
            labels=config.labels,
            multiple_of=config.multiple_of,
            selector=layout.selector,
            planned_counts=table.planned_counts,
        )
    )
    seed = layout.order_seed(config.seed)
    generator = stream(seed, purpose=ORDER, epoch=epoch)
    order, weights = selection.kept, selection.weights
    if weights is None:
        generator.shuffle(order)
    else:
        shuffled = generator.permutation(order.size)
        order, weights = order[shuffled], weights[shuffled]
    if config.lengths is not None:
        grouped = group_by_length(config.lengths[order], config.multiple_of)
        order = order[grouped]
        weights = None if weights is None else weights[grouped]
    return whole_plan(config, epoch, order, weights, layout.kept_by_rank(order.size))


def whole_plan(
    config: RunConfig,
    epoch: int,
    order: Ids,
    weights: NDArray[np.float32] | None,
    kept_by_rank: tuple[int, ...] = (),
) -> EpochPlan:
    """Return the plan of an epoch whose order is known."""
    ratio = float(config.keep_ratios[epoch])
    scale = loss_scale(ratio) if config.divides_loss else 1.0
    return EpochPlan(
        epoch=epoch,
        epochs=config.epochs,
        n=config.n,
        keep_ratio=ratio,
        loss_scale=scale * loss_factor(order.size, kept_by_rank),
        order=order,
        weights=weights,
        kept_by_rank=kept_by_rank,
    )


def group_by_length(lengths: NDArray[np.int32], batch_size: int) -> NDArray[np.int64]:
    """Return the order (k,) that puts samples of like lengths into the same batches."""
    # The shuffled samples are cut into megabatches of up to 50 batches, and each is
    # sorted, the longest first; the first batch has the longest sample of all, so that
    # memory fails in the first step or never. Pure, O(k log k).
    k = lengths.size
    batches = min(max(k // (batch_size * _MIN_MEGABATCHES), 1), _MAX_BATCHES)
    order = np.arange(k)
    longest = int(lengths.argmax())
    order[[0, longest]] = longest, 0
    megabatch = np.arange(k) // (batches * batch_size)
    grouped: NDArray[np.int64] = order[np.lexsort((-lengths[order], megabatch))]
    return grouped
