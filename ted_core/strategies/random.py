"""A new random selection every epoch: the strongest simple rival."""

from __future__ import annotations

from dataclasses import KW_ONLY, dataclass

import numpy as np

from ted_core._validation import check_bool
from ted_core.strategies.base import Request, Selection, StrategyDefaults

__all__ = ["Random"]


@dataclass(frozen=True)
class Random(StrategyDefaults):
    """Keep a uniform random selection, anew in every epoch (Random*, RS2).

    Parameters
    ----------
    balanced : bool, default False
        Whether an epoch takes the samples that were planned least often so far, at
        random among the equal. All samples then come equally often, give or take one.

    Raises
    ------
    TypeError
        `balanced` is no bool.

    Notes
    -----
    The samples of the `count` highest hashes of (seed, epoch, id), among the least
    planned ones if balanced. O(n), in scratch space of 28 bytes a sample; balanced, 2
    bytes a sample of state. Needs no values.

    References
    ----------
    J. Xiao, P. Li, J. Nie, TED: Accelerate Model Training by Internal
    Generalization, ECAI 2024, Tables 1 and 2 (Random*).
    P. Okanovic et al., Repeated random sampling for minimizing the time-to-accuracy
    of learning, ICLR 2024 (balanced: RS2 without replacement).

    Examples
    --------
    >>> import ted_core
    >>> anew = ted_core.Random()
    >>> pruner = ted_core.Pruner(10, epochs=5, prune_ratio=0.5, strategy=anew)
    >>> pruner.advance()
    >>> pruner.plan().kept.size
    6

    >>> half = ted_core.Constant(0.5, anneal=0)
    >>> in_turn = ted_core.Random(balanced=True)
    >>> pruner = ted_core.Pruner(10, epochs=6, schedule=half, strategy=in_turn)
    >>> first = pruner.plan().kept.tolist()
    >>> pruner.advance()
    >>> sorted(first + pruner.plan().kept.tolist())
    [0, 1, 2, 3, 4, 5, 6, 7, 8, 9]
    """

    uses_scores = False

    _: KW_ONLY
    balanced: bool = False

    def __post_init__(self) -> None:
        """Refuse what is no bool."""
        object.__setattr__(self, "balanced", check_bool("balanced", self.balanced))

    @property
    def needs_planned_counts(self) -> bool:
        """How often each sample was planned is what balances them."""
        return self.balanced

    def select(self, request: Request) -> Selection:
        """Select `request.count` ids."""
        if self.balanced:
            return Selection(request.top(-request.planned_counts.astype(np.float32)))
        return Selection(request.draw(request.all_ids, request.count))
