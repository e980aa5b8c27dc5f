"""Unbiased pruning below the mean score (Qin et al. 2024)."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ted_core.reductions import Last
from ted_core.schedules import keep_count
from ted_core.strategies.base import Request, Selection, StrategyDefaults, pick
from ted_core.typing import Ids, id_dtype

__all__ = ["InfoBatch"]


@dataclass(frozen=True)
class InfoBatch(StrategyDefaults):
    r"""Prune at random below the mean score, without bias: E[sum w l] = sum l.

    Of the m samples whose score is below the mean, k = max(1, floor((1 - r) m + 1/2))
    stay, selected at random, each with the weight m / k; all others stay with the
    weight 1. Given the scores, the expected weighted sum of any losses over what stays
    is their sum over the data.

    The prune ratio is r, the share that is pruned of the samples below the mean; the
    paper's schedule is ``Constant(r)``. How many samples an epoch keeps depends on the
    scores: ``total_steps`` and ``schedule_table`` refuse, ``max_total_steps`` gives the
    bound.

    Notes
    -----
    The score is the newest value. The loss is not divided by r_t: the weights do that.
    The paper prunes each sample on its own with probability r; here, as in the authors'
    code, the number is fixed. With `multiple_of` k grows until the epoch fits. A sample
    at the mean is not below it; in a full epoch there are no weights. Over shards the
    mean is that of all, up to the rounding of float64. O(n).

    References
    ----------
    Z. Qin et al., InfoBatch: lossless training speed up by unbiased dynamic data
    pruning, ICLR 2024.

    Examples
    --------
    >>> import ted_core
    >>> half = ted_core.Constant(0.5)
    >>> strategy = ted_core.InfoBatch()
    >>> pruner = ted_core.Pruner(6, epochs=8, schedule=half, strategy=strategy)
    >>> pruner.observe(range(6), [1, 1, 1, 1, 9, 9])
    >>> pruner.advance()
    >>> plan = pruner.plan()
    >>> len(plan), sorted(plan.weights.tolist()), plan.loss_scale
    (4, [1.0, 1.0, 2.0, 2.0], 1.0)
    >>> pruner.max_total_steps(2)
    24
    """

    known_count = False  # the scores decide how many are below their mean
    scales_loss = False  # the weights keep the sum of the losses
    weighs_losses = True  # the samples selected stand for those that are pruned
    reduction = Last()

    def select(self, request: Request) -> Selection:
        """Select among the samples below the mean, and weight them."""
        n, dtype = request.n, id_dtype(request.n)
        if request.keep_ratio >= 1:
            return Selection(request.all_ids)
        below: Ids = np.flatnonzero(_below_mean(request)).astype(dtype)
        size = int(request.together(below.size)[0])
        if size == 0:
            return Selection(request.all_ids)
        certain = request.total - size
        stay = keep_count(size, request.keep_ratio)
        step = request.multiple_of
        # As many more as make the epoch a multiple of the step.
        stay = min(size, -(-(certain + stay) // step) * step - certain)
        chosen = pick(below, stay, request)
        keep = np.ones(n, dtype=bool)
        keep[below] = False
        keep[chosen] = True
        weights = np.ones(n, np.float32)
        weights[chosen] = size / stay
        return Selection(np.flatnonzero(keep).astype(dtype), weights[keep])


def _below_mean(request: Request) -> NDArray[np.bool_]:
    """Return which samples are below the mean of those seen; none if all are equal."""
    ranking = request.ranking()
    known = ranking[np.isfinite(ranking)].astype(np.float64)
    inf = np.inf
    mine = [known.size, known.sum(), known.min(initial=inf), known.max(initial=-inf)]
    rows = request.selector.gather(mine)
    sizes, sums, lowest, highest = rows[rows[:, 0] > 0].T
    if sizes.size == 0:
        return np.zeros(ranking.shape, dtype=bool)
    # Rounding may put the mean of equal numbers above each of them.
    mean = np.clip(math.fsum(sums) / sizes.sum(), lowest.min(), highest.max())
    return np.asarray(ranking < np.float64(mean))
