"""TED's strategy: keep the highest scores (Definition 3)."""

from __future__ import annotations

import math
from dataclasses import KW_ONLY, dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ted_core._checks import check_real
from ted_core.counts import id_dtype
from ted_core.reductions import Reduction
from ted_core.selection import top_ids
from ted_core.strategies.base import Request, Selection
from ted_core.ties import tie_hash
from ted_core.typing import Ids

__all__ = ["TopScore"]


@dataclass(frozen=True)
class TopScore:
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
    O(n) an epoch; with class floors O(n log n) and 33 bytes a sample of scratch.

    References
    ----------
    J. Xiao, P. Li, J. Nie, TED: Accelerate Model Training by Internal
    Generalization, ECAI 2024, Definition 3, Eq. 20. Class floors are ours.

    Examples
    --------
    >>> import ted_core as ted
    >>> half = ted.Constant(0.5)
    >>> pruner = ted.Pruner(4, epochs=5, schedule=half, strategy=ted.TopScore())
    >>> pruner.observe([0, 1, 2, 3], [0.1, 0.9, 0.5, 0.7])
    >>> pruner.advance()
    >>> pruner.plan().kept.tolist()
    [1, 3]
    """

    _: KW_ONLY
    class_floor: float = 0.0

    def __post_init__(self) -> None:
        """Refuse a floor that is no share."""
        floor = check_real("class_floor", self.class_floor, low=0, high=1)
        object.__setattr__(self, "class_floor", floor)

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

    def check(
        self, n: int, smallest: int, labels: NDArray[np.signedinteger[Any]] | None
    ) -> None:
        """Refuse missing labels and floors above the smallest epoch."""
        del n
        if self.class_floor == 0:
            return
        if labels is None:
            msg = f"`labels` must be given for `class_floor`={self.class_floor:g}"
            raise ValueError(msg)
        _, sizes = np.unique(labels, return_counts=True)
        needed = sum(_floor(int(size), self.class_floor) for size in sizes)
        if needed > smallest:
            msg = (
                f"`class_floor` must leave at most {smallest} samples, the smallest "
                f"epoch of the schedule, got {self.class_floor:g} which keeps {needed}"
            )
            raise ValueError(msg)

    def select(self, request: Request) -> Selection:
        """Return the ids of the highest `request.count` ranks."""
        if request.count == request.n:
            everything: Ids = np.arange(request.n, dtype=id_dtype(request.n))
            return Selection(everything)
        if self.class_floor > 0 and request.labels is not None:
            return Selection(self._with_floors(request, request.labels))
        kept = top_ids(
            request.ranking(), request.count, seed=request.seed, epoch=request.epoch
        )
        return Selection(kept)

    def _with_floors(
        self, request: Request, labels: NDArray[np.signedinteger[Any]]
    ) -> Ids:
        """Return the best of each class up to its floor, then the best of the rest."""
        ranking = request.ranking()
        ranks = np.lexsort(
            (
                tie_hash(np.arange(request.n), seed=request.seed, epoch=request.epoch),
                ranking,
            )
        )[::-1]
        by_class = ranks[np.argsort(labels[ranks], kind="stable")]
        sizes = np.unique(labels, return_counts=True)[1]
        starts = np.cumsum(sizes) - sizes
        floors = np.array([_floor(int(size), self.class_floor) for size in sizes])
        place = np.arange(request.n) - np.repeat(starts, sizes)
        reserved = np.zeros(request.n, dtype=bool)
        reserved[by_class[place < np.repeat(floors, sizes)]] = True
        rest = ranks[~reserved[ranks]][: request.count - int(reserved.sum())]
        reserved[rest] = True
        return np.flatnonzero(reserved).astype(id_dtype(request.n))


def _floor(size: int, share: float) -> int:
    return max(1, math.floor(share * size))
