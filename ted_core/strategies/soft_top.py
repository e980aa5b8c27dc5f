"""A random selection in which high scores are likely: TopScore made soft."""

from __future__ import annotations

from dataclasses import KW_ONLY, dataclass

import numpy as np

from ted_core._validation import set_real
from ted_core.selection.top_k import pieces
from ted_core.strategies.base import (
    Floored,
    Request,
    Selection,
    gumbel_noise,
    keep_highest,
)

__all__ = ["SoftTop"]


@dataclass(frozen=True)
class SoftTop(Floored):
    r"""Draw without replacement, in proportion to a power of the score's rank.

    One sample after the other is drawn from those left, sample k with a probability
    proportional to ``w_k = q_k^sharpness``; q_k in (0, 1) is the share of the samples
    that score below k, half of the equal ones counted. No sample is sure to stay, and
    none is out for good.

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
    (0, 1) by a hash of (seed, epoch, k), which is the same as drawing one by one. Over
    shards of 2,048 samples or more q_k is known to within 2^-11. Ours, not from a
    paper. One sort of the scores, O(n log n), in scratch space of about 20 bytes a
    sample, 30 where all scores are equal.

    References
    ----------
    P. S. Efraimidis, P. G. Spirakis, Weighted random sampling with a reservoir,
    Information Processing Letters 97, 2006.
    W. Kool, H. van Hoof, M. Welling, Stochastic beams and where to find them: the
    Gumbel-top-k trick for sampling sequences without replacement, ICML 2019.

    Examples
    --------
    >>> import ted_core
    >>> pruner = ted_core.Pruner(
    ...     1000, epochs=5, schedule=ted_core.Constant(0.5), strategy=ted_core.SoftTop()
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
        set_real(self, "sharpness", low=0, high=1e30)
        super().__post_init__()

    def select(self, request: Request) -> Selection:
        """Return the ids of the highest keys."""
        if request.count == request.total:
            return Selection(request.all_ids)
        ranking = request.ranking()
        keys = np.full(request.n, -np.inf, np.float32)
        for ids, ranks in request.selector.mid_ranks(ranking):
            for part in pieces(ids.size):
                noise = gumbel_noise(request.global_ids(ids[part]), request)
                keys[ids[part]] = self.sharpness * np.log(ranks[part]) + noise
        keys[np.isposinf(ranking)] = np.inf
        return Selection(keep_highest(keys, request, floor=self.class_floor))
