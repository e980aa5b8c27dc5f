"""TED's strategy: keep the highest scores (Definition 3)."""

from __future__ import annotations

from dataclasses import KW_ONLY, dataclass

from ted_core.strategies.base import Floored, Request, Selection, keep_highest

__all__ = ["TopScore"]


@dataclass(frozen=True)
class TopScore(Floored):
    r"""Keep the samples of the highest scores, prune the redundant subset (Eq. 20).

    Parameters
    ----------
    class_floor : float, default 0
        Least share of each class that every epoch keeps, in [0, 1]; with a share
        above 0 at least one sample of each class stays. Needs ``labels``.

    Raises
    ------
    ValueError, TypeError
        `class_floor` is out of range; and from the pruner: it asks for labels, or
        for more samples than the schedule keeps.

    Notes
    -----
    O(n) an epoch, in scratch space of 6 bytes a sample, more where scores tie; with
    class floors O(n log n) and 33 bytes a sample.
    Source: TED, ECAI 2024, Definition 3, Eq. 20; class floors are ours.

    Examples
    --------
    >>> import ted_core
    >>> half = ted_core.Constant(0.5)
    >>> strategy = ted_core.TopScore()
    >>> pruner = ted_core.Pruner(4, epochs=5, schedule=half, strategy=strategy)
    >>> pruner.observe([0, 1, 2, 3], [0.1, 0.9, 0.5, 0.7])
    >>> pruner.advance()
    >>> pruner.plan().kept.tolist()
    [1, 3]
    """

    _: KW_ONLY
    class_floor: float = 0.0

    def select(self, request: Request) -> Selection:
        """Return the ids of the `request.count` highest scores."""
        if request.count == request.total:
            return Selection(request.all_ids)
        return Selection(
            keep_highest(request.ranking(), request, floor=self.class_floor)
        )
