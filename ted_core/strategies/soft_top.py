"""A draw in which high scores are likely: TopScore made soft."""

from __future__ import annotations

from dataclasses import KW_ONLY, dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ted_core._checks import check_real
from ted_core.shards import Shard
from ted_core.strategies.base import Request, Selection
from ted_core.strategies.floors import check_class_floor, check_floors, keep_highest
from ted_core.strategies.ranked import Ranked
from ted_core.strategies.ranks import mid_ranks, mid_ranks_of_all
from ted_core.strategies.soft_draw import soft_keys, soft_noise, soft_top_ids
from ted_core.typing import Scores

__all__ = ["SoftTop"]


@dataclass(frozen=True)
class SoftTop(Ranked):
    r"""Draw without replacement, in proportion to a power of the score's rank.

    One sample after the other is drawn from those left, sample k with a probability
    proportional to ``w_k = q_k^sharpness``; q_k in (0, 1) is the share of the samples
    that score below k, half of the equal ones counted. No sample is sure to stay, and
    none is out for good. The prune ratio is the share of the data that is pruned, as
    for TED.

    Parameters
    ----------
    sharpness : float, default 1
        Power of the rank, in [0, 1e30]: 0 draws uniformly as :class:`Random`; the
        higher, the closer the draw comes to :class:`TopScore`.
    class_floor : float, default 0
        Least share of each class that every epoch keeps, in [0, 1], those drawn first.
        Needs ``labels``.

    Raises
    ------
    ValueError, TypeError
        An argument is out of its range; and from the pruner: see :class:`TopScore`.

    Notes
    -----
    The draw is the `count` highest of ``log w_k - log(-log u_k)`` with u_k uniform in
    (0, 1) by a hash of (seed, epoch, k), which is the same as drawing one by one. A
    sample never presented comes first. Only ranks matter: any increasing function of
    the values draws the same samples. Over shards q_k is known to within 2^-11, see
    `mid_ranks_of_all`. Ours, not from a paper. O(n), and constant scratch space unless
    most scores are nearly equal; see `soft_draw`. Over shards O(n) of scratch space,
    with class floors O(n log n).

    References
    ----------
    P. S. Efraimidis, P. G. Spirakis, Weighted random sampling with a reservoir,
    Information Processing Letters 97, 2006.
    W. Kool, H. van Hoof, M. Welling, Stochastic beams and where to find them: the
    Gumbel-top-k trick for sampling sequences without replacement, ICML 2019.

    Examples
    --------
    >>> import ted_core as ted
    >>> pruner = ted.Pruner(
    ...     1000, epochs=5, schedule=ted.Constant(0.5), strategy=ted.SoftTop()
    ... )
    >>> pruner.observe(range(1000), range(1000))
    >>> pruner.advance()
    >>> kept = pruner.plan().kept
    >>> kept.size, bool(350 < (kept >= 500).sum() < 420)
    (500, True)
    """

    _: KW_ONLY
    sharpness: float = 1.0
    class_floor: float = 0.0

    def __post_init__(self) -> None:
        """Refuse parameters out of range."""
        power = check_real("sharpness", self.sharpness, low=0, high=1e30)
        object.__setattr__(self, "sharpness", power)
        object.__setattr__(self, "class_floor", check_class_floor(self.class_floor))

    def check(
        self, n: int, smallest: int, labels: NDArray[np.signedinteger[Any]] | None
    ) -> None:
        """Refuse missing labels and floors above the smallest epoch."""
        del n
        check_floors(self.class_floor, smallest, labels)

    def select(self, request: Request) -> Selection:
        """Return the ids of the highest keys."""
        if request.count == request.total:
            return Selection(request.all_ids)
        key = {"seed": request.seed, "epoch": request.epoch}
        ranking, power = request.ranking(), self.sharpness
        if self.class_floor == 0 and request.shard is None:
            return Selection(
                soft_top_ids(ranking, request.count, sharpness=power, **key)
            )
        keys = ranking.copy()
        known = np.flatnonzero(~np.isposinf(keys))
        log_weights = power * np.log(_ranks(keys[known], request.shard))
        keys[known] = soft_keys(log_weights, soft_noise(request.named(known), **key))
        return Selection(keep_highest(keys, request, floor=self.class_floor))


def _ranks(scores: Scores, shard: Shard | None) -> NDArray[np.float64]:
    if shard is None:
        return mid_ranks(scores)
    return mid_ranks_of_all(scores, all_sum=shard.all_sum)
