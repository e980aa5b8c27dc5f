"""From the configuration and the scores to one epoch's plan."""

from __future__ import annotations

from ted_core.config import RunConfig
from ted_core.plan import EpochPlan
from ted_core.randomness import ORDER, stream
from ted_core.scaling import loss_scale
from ted_core.scores import ScoreBook
from ted_core.strategies import Request

__all__ = ["make_plan"]


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
    O(n).
    """
    ratio = float(config.keep_ratios[epoch])
    selection = config.strategy.select(
        Request(
            n=config.n,
            count=int(config.kept_counts[epoch]),
            keep_ratio=ratio,
            epoch=epoch,
            seed=config.seed,
            ranking=book.ranking,
            columns=book.columns,
            labels=config.labels,
            multiple_of=config.multiple_of,
        )
    )
    generator = stream(config.seed, purpose=ORDER, epoch=epoch)
    order, weights = selection.kept, selection.weights
    if weights is None:
        generator.shuffle(order)
    else:
        places = generator.permutation(order.size)
        order, weights = order[places], weights[places]
    scaled = config.scale_loss and config.strategy.scales_loss
    return EpochPlan(
        epoch=epoch,
        epochs=config.epochs,
        n=config.n,
        keep_ratio=ratio,
        loss_scale=loss_scale(ratio) if scaled else 1.0,
        order=order,
        weights=weights,
    )
