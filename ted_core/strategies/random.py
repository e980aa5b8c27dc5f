"""A new random selection every epoch: the strongest simple rival."""

from __future__ import annotations

from dataclasses import dataclass

from ted_core.strategies.base import Request, Selection, StrategyDefaults

__all__ = ["Random"]


@dataclass(frozen=True)
class Random(StrategyDefaults):
    """Keep a uniform random selection, anew in every epoch (Random*, RS2).

    Notes
    -----
    The samples of the `count` highest hashes of (seed, epoch, id). O(n), in scratch
    space of 28 bytes a sample. Needs no values.

    References
    ----------
    J. Xiao, P. Li, J. Nie, TED: Accelerate Model Training by Internal
    Generalization, ECAI 2024, Tables 1 and 2 (Random*).
    P. Okanovic et al., Repeated random sampling for minimizing the time-to-accuracy
    of learning, ICLR 2024.

    Examples
    --------
    >>> import ted_core as ted
    >>> pruner = ted.Pruner(10, epochs=5, prune_ratio=0.5, strategy=ted.Random())
    >>> pruner.advance()
    >>> pruner.plan().kept.size
    6
    """

    @property
    def uses_scores(self) -> bool:
        """No values are needed."""
        return False

    def select(self, request: Request) -> Selection:
        """Select `request.count` ids."""
        return Selection(request.draw(request.all_ids, request.count))
