"""The upper confidence bound of each sample's score (Raju et al. 2021)."""

from __future__ import annotations

from dataclasses import KW_ONLY, dataclass
from typing import Literal

import numpy as np

from ted_core._validation import check_choice, set_real
from ted_core.reductions import MAX_FLOAT, MeanAndVariance, Reduction
from ted_core.strategies.base import Floored, Request, Selection, keep_highest

__all__ = ["UCB"]


@dataclass(frozen=True)
class UCB(Floored):
    r"""Keep the highest upper confidence bounds, mu_k + c v_k.

    mu and v are averages over time of the sample's value and of its squared distance
    from mu.

    Parameters
    ----------
    confidence : float, default 1
        Factor c of the bonus, at least 0; 0 is :class:`TopScore`.
    alpha : float, default 0.9
        Share of the past in mu and v, in [0, 1).
    bonus : {"variance", "deviation"}, default "variance"
        v itself, or its square root, which keeps the selection the same when all
        values are multiplied by one number.
    class_floor : float, default 0
        Least share of each class that every epoch keeps, in [0, 1]. Needs ``labels``.

    Raises
    ------
    ValueError, TypeError
        An argument is out of its range; and from the pruner: see :class:`TopScore`.

    Notes
    -----
    The paper trains with the loss as it is; here 1 / r_t is the run's `scale_loss`. Its
    code is not public: `alpha`, the start at the first value, ``"deviation"``, class
    floors and the default of `confidence` are ours. O(n), 4 bytes a sample of state.

    References
    ----------
    R. S. Raju et al., Accelerating deep learning with dynamic data pruning, 2021.

    Examples
    --------
    >>> import ted_core
    >>> half = ted_core.Constant(0.5)
    >>> strategy = ted_core.UCB(alpha=0.5)
    >>> pruner = ted_core.Pruner(2, epochs=5, schedule=half, strategy=strategy)
    >>> for values in ([1.0, 1.5], [3.0, 1.5]):
    ...     pruner.observe([0, 1], values)
    ...     pruner.advance()
    >>> pruner.scores.tolist(), pruner.plan().kept.tolist()
    ([2.0, 1.5], [0])
    """

    _: KW_ONLY
    confidence: float = 1.0
    alpha: float = 0.9
    bonus: Literal["variance", "deviation"] = "variance"
    class_floor: float = 0.0

    def __post_init__(self) -> None:
        """Refuse parameters out of range."""
        set_real(self, "confidence", low=0, high=float("inf"), closed="left")
        set_real(self, "alpha", low=0, high=1, closed="left")
        check_choice("bonus", self.bonus, ("variance", "deviation"))
        super().__post_init__()

    @property
    def reduction(self) -> Reduction | None:
        """Mean and variance over time."""
        return MeanAndVariance(self.alpha)

    def select(self, request: Request) -> Selection:
        """Return the ids of the highest bounds."""
        ranking = request.ranking()
        spread = request.columns["variance"].astype(np.float64)
        if self.bonus == "deviation":
            spread = np.sqrt(spread)
        with np.errstate(over="ignore"):
            bound = np.clip(ranking + self.confidence * spread, -MAX_FLOAT, MAX_FLOAT)
        keys = np.where(np.isinf(ranking), ranking, bound).astype(np.float32)
        return Selection(keep_highest(keys, request, floor=self.class_floor))
