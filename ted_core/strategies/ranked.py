"""What the strategies share that rank by the signal's score and scale as TED does."""

from __future__ import annotations

from typing import ClassVar

from ted_core.reductions import Reduction

__all__ = ["Ranked"]


class Ranked:
    """Facts of a strategy that keeps as many samples as the schedule says, by score.

    Examples
    --------
    >>> from ted_core.strategies.ranked import Ranked
    >>> Ranked().uses_scores, Ranked().reduction
    (True, None)
    """

    over_shards: ClassVar[bool] = True

    @property
    def uses_scores(self) -> bool:
        """An epoch without values is an error."""
        return True

    @property
    def known_count(self) -> bool:
        """The schedule decides."""
        return True

    @property
    def scales_loss(self) -> bool:
        """The loss is divided by r_t (Eq. 23)."""
        return True

    @property
    def reduction(self) -> Reduction | None:
        """The signal's own."""
        return None
