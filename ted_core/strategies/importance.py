"""Importance sampling: a draw in proportion to the score, and weights to match."""

from __future__ import annotations

from dataclasses import KW_ONLY, dataclass

import numpy as np

from ted_core._validation import set_real
from ted_core.selection.top_k import pieces
from ted_core.strategies.base import Request, Selection, StrategyDefaults, gumbel_noise
from ted_core.typing import Floats, Scores

__all__ = ["Importance"]


@dataclass(frozen=True)
class Importance(StrategyDefaults):
    r"""Draw without replacement in proportion to the score, and weight the losses.

    One sample after the other is drawn from those left, sample k with a probability
    proportional to ``w_k = (1 - mix) v_k / mean(v) + mix``; v_k is its score. The loss
    of a kept sample has a weight proportional to ``pi_k^-correction``, with pi_k the
    chance that it is kept; the weights of an epoch have the mean 1.

    With ``correction=1`` the mean of the weighted losses over the kept samples
    estimates the mean loss over all data, whatever the scores; with 0 all weigh 1.

    Parameters
    ----------
    mix : float, default 0.2
        Share of a uniform draw, in [0, 1]; 1 draws as :class:`Random`. It bounds the
        weights; with 0 a sample of score 0 comes after all others.
    correction : float, default 0.5
        Power of the weights, in [0, 1].

    Raises
    ------
    ValueError, TypeError
        An argument is out of its range; and from a pruner's ``plan()``: a score is
        below 0.

    Notes
    -----
    The draw is the `count` highest keys ``log w_k - log(-log u_k)`` with u_k uniform in
    (0, 1) by a hash of (seed, epoch, k). With kappa the highest key that is left,
    ``pi_k = 1 - exp(-w_k exp(-kappa))``; dividing by the mean of the weights adds a
    bias of order 1 / count. A sample never seen is kept with pi_k = 1. If all scores
    are 0 the draw is uniform; in a full epoch there are no weights. ``signal="el2n"``
    is the paper's bound for the best one. Over shards the mean is that of all, up to
    the rounding of float64. O(n), in scratch space of some 25 bytes a sample. The mix,
    and a power between 0 and 1, are ours.

    References
    ----------
    A. Katharopoulos, F. Fleuret, Not all samples are created equal: deep learning with
    importance sampling, ICML 2018.
    W. Kool, H. van Hoof, M. Welling, Stochastic beams and where to find them: the
    Gumbel-top-k trick for sampling sequences without replacement, ICML 2019.
    N. Duffield, C. Lund, M. Thorup, Priority sampling for estimation of arbitrary
    subset sums, Journal of the ACM 54, 2007.

    Examples
    --------
    >>> import ted_core
    >>> strategy = ted_core.Importance(correction=1)
    >>> half = ted_core.Constant(0.5)
    >>> pruner = ted_core.Pruner(1000, epochs=5, schedule=half, strategy=strategy)
    >>> pruner.observe(range(1000), range(1000))
    >>> pruner.advance()
    >>> plan = pruner.plan()
    >>> len(plan), bool(300 < (plan.order >= 500).sum() < 350)
    (500, True)
    >>> bool(plan.order.mean() > 550 > (plan.weights * plan.order).mean() > 450)
    True
    """

    weighs_losses = True  # the kept samples' weights make up for their chances

    _: KW_ONLY
    mix: float = 0.2
    correction: float = 0.5

    def __post_init__(self) -> None:
        """Refuse what is no share."""
        for name in ("mix", "correction"):
            set_real(self, name, low=0, high=1)

    def select(self, request: Request) -> Selection:
        """Return the samples drawn, and their weights."""
        if request.count == request.total:
            return Selection(request.all_ids)
        ranking = request.ranking()
        mean = self._mean(ranking, request)
        keys = ranking.copy()  # without a score these are inf or -inf already
        every = request.all_ids
        for part in pieces(request.n):
            ids = every[part][np.isfinite(ranking[part])]
            noise = gumbel_noise(request.global_ids(ids), request)
            keys[ids] = self._log_weights(ranking[ids], mean) + noise
        kept = request.top(keys)
        left = np.ones(request.n, dtype=bool)
        left[kept] = False
        more = request.top(keys, request.count + 1)
        # The highest key that is left lies on one process, or there are no shards.
        (kappa,) = request.together(float(keys[more[left[more]]].sum()))
        weights = np.ones(kept.size, np.float32)
        for part in pieces(kept.size):
            ids = kept[part]
            drawn = np.isfinite(keys[ids])
            log_weights = self._log_weights(ranking[ids[drawn]], mean)
            with np.errstate(over="ignore"):  # far above kappa a sample is sure to stay
                chance = -np.expm1(-np.exp(log_weights - kappa))
            weights[part][drawn] = chance**-self.correction
        (total,) = request.together(float(weights.sum(dtype=np.float64)))
        weights *= np.float32(request.count / total)
        return Selection(kept, weights)

    def _mean(self, ranking: Scores, request: Request) -> float:
        """Return the mean of all scores, or refuse those below 0."""
        known = np.isfinite(ranking)
        mine = (known.sum(), (known & (ranking < 0)).sum())
        total = ranking.sum(where=known, dtype=np.float64)
        size, below, total = request.together(*map(float, (*mine, total)))
        if below:
            msg = (
                f"scores must be at least 0 for {self!r}, which draws in proportion to "
                f"them, got {below:.0f} below 0; give another signal, or take "
                "`SoftTop`, which draws by rank"
            )
            raise ValueError(msg)
        return total / max(size, 1)

    def _log_weights(self, scores: Scores, mean: float) -> Floats:
        """Return log w_k of scores."""
        relative = scores.astype(np.float64) / mean if mean else 1.0 + 0 * scores
        with np.errstate(divide="ignore"):  # of a score of 0 without a mix
            return np.log((1 - self.mix) * relative + self.mix)
