"""The greedy selection with a share of random samples (Raju et al. 2021)."""

from __future__ import annotations

import math
from dataclasses import KW_ONLY, dataclass

import numpy as np

from ted_core._validation import set_real
from ted_core.strategies.base import Request, Selection, StrategyDefaults, pick
from ted_core.typing import Ids, id_dtype

__all__ = ["EpsilonGreedy"]


@dataclass(frozen=True)
class EpsilonGreedy(StrategyDefaults):
    r"""Keep the highest scores, and some of the others at random: S_t = G_t + R_t.

    Of the k samples that the schedule keeps, ``floor(epsilon k + 1/2)`` are R_t,
    selected at random from the data without G_t, the samples of the highest scores.

    Parameters
    ----------
    epsilon : float, default 0.1
        Share of the kept samples that is random, in [0, 1]; 0 is :class:`TopScore`.

    Raises
    ------
    ValueError, TypeError
        `epsilon` is out of range.

    Notes
    -----
    The paper trains on S_t with the loss as it is; here 1 / r_t is the run's
    `scale_loss`. Its code is not public: the default of `epsilon` is ours. O(n).

    References
    ----------
    R. S. Raju et al., Accelerating deep learning with dynamic data pruning, 2021.

    Examples
    --------
    >>> import ted_core
    >>> greedy = ted_core.EpsilonGreedy(epsilon=0.5)
    >>> half = ted_core.Constant(0.5)
    >>> pruner = ted_core.Pruner(8, epochs=5, schedule=half, strategy=greedy)
    >>> pruner.observe(range(8), [0, 1, 2, 3, 4, 5, 6, 7])
    >>> pruner.advance()
    >>> kept = pruner.plan().kept.tolist()
    >>> len(kept), kept[-2:]
    (4, [6, 7])
    """

    _: KW_ONLY
    epsilon: float = 0.1

    def __post_init__(self) -> None:
        """Refuse what is no share."""
        set_real(self, "epsilon", low=0, high=1)

    def select(self, request: Request) -> Selection:
        """Return G_t and R_t together."""
        ranking = request.ranking()
        greedy = request.count - math.floor(self.epsilon * request.count + 0.5)
        (unseen,) = request.together(int(np.isposinf(ranking).sum()))
        greedy = max(greedy, min(int(unseen), request.count))
        best = request.top(ranking, greedy)
        others = np.ones(request.n, dtype=bool)
        others[best] = False
        left: Ids = np.flatnonzero(others).astype(id_dtype(request.n))
        chosen = pick(left, request.count - greedy, request)
        return Selection(np.sort(np.concatenate([best, chosen])))
