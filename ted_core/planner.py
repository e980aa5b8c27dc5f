"""From the configuration and the scores to one epoch's plan."""

from __future__ import annotations

from functools import partial

import numpy as np
from numpy.typing import NDArray

from ted_core.config import RunConfig
from ted_core.plan import EpochPlan
from ted_core.randomness import ORDER, stream
from ted_core.scaling import loss_scale
from ted_core.scores import ScoreBook
from ted_core.strategies import Request
from ted_core.typing import Ids
from ted_core.visits import rank_factor

__all__ = ["make_plan", "whole_plan"]


def make_plan(config: RunConfig, book: ScoreBook, epoch: int) -> EpochPlan:
    """Return the plan of `epoch`; pure in the configuration and the scores.

    Parameters
    ----------
    config : RunConfig
        The run.
    book : ScoreBook
        Its scores.
    epoch : int
        Epoch to plan, in [0, epochs).

    Returns
    -------
    EpochPlan
        Selection by the strategy, then a shuffle.

    Notes
    -----
    O(n). With a shard every rank takes part: a sum of 8 bytes a rank and, where an
    epoch does not keep all, those of the selection.
    """
    shard, together = config.shard, config.together
    own = config.seed if shard is None else shard.seed_of(config.seed)
    selection = config.strategy.select(
        Request(
            n=config.n,
            count=int(config.kept_counts[epoch]),
            keep_ratio=float(config.keep_ratios[epoch]),
            epoch=epoch,
            seed=config.seed if together else own,
            ranking=partial(book.ranking, together.median if together else None),
            columns=book.columns,
            labels=config.labels,
            multiple_of=config.multiple_of,
            shard=together,
        )
    )
    generator = stream(own, purpose=ORDER, epoch=epoch)
    order, weights = selection.kept, selection.weights
    if weights is None:
        generator.shuffle(order)
    else:
        places = generator.permutation(order.size)
        order, weights = order[places], weights[places]
    kept = () if shard is None else tuple(shard.gather([order.size])[:, 0].tolist())
    return whole_plan(config, epoch, order, weights, kept)


def whole_plan(
    config: RunConfig,
    epoch: int,
    order: Ids,
    weights: NDArray[np.float32] | None,
    kept_by_rank: tuple[int, ...] = (),
) -> EpochPlan:
    """Return the plan of an epoch whose order is known.

    Parameters
    ----------
    config : RunConfig
        The run.
    epoch : int
        Epoch to plan, in [0, epochs).
    order : ndarray of int, shape (k,)
        Kept ids of this rank, in order.
    weights : ndarray of float32, shape (k,), or None
        Their weights.
    kept_by_rank : tuple of int, default ()
        Samples that each rank keeps, if each has a shard.

    Returns
    -------
    EpochPlan
        With the factor of the loss.
    """
    ratio = float(config.keep_ratios[epoch])
    scaled = config.scale_loss and config.strategy.scales_loss
    scale = loss_scale(ratio) if scaled else 1.0
    return EpochPlan(
        epoch=epoch,
        epochs=config.epochs,
        n=config.n,
        keep_ratio=ratio,
        loss_scale=scale * rank_factor(order.size, kept_by_rank),
        order=order,
        weights=weights,
        kept_by_rank=kept_by_rank,
    )
