"""A fresh uniform draw every epoch: the strongest simple rival."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from ted_core.reductions import Reduction
from ted_core.strategies.base import Request, Selection

__all__ = ["Random"]


@dataclass(frozen=True)
class Random:
    """Keep a uniform draw of the samples, anew in every epoch (Random*, RS2).

    Notes
    -----
    The draw is the `count` highest hashes of (seed, epoch, id). O(n), 4 bytes a
    sample of scratch space. Needs no values.

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

    over_shards: ClassVar[bool] = True

    @property
    def uses_scores(self) -> bool:
        """No values are needed."""
        return False

    @property
    def known_count(self) -> bool:
        """The schedule decides."""
        return True

    @property
    def scales_loss(self) -> bool:
        """The mean over a uniform draw is divided by r_t, as TED's."""
        return True

    @property
    def reduction(self) -> Reduction | None:
        """Any; values are kept for the reports."""
        return None

    def check(
        self, n: int, smallest: int, labels: NDArray[np.signedinteger[Any]] | None
    ) -> None:
        """Accept any data set."""

    def select(self, request: Request) -> Selection:
        """Draw `request.count` ids."""
        return Selection(request.draw(request.all_ids, request.count))
