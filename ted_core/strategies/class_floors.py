"""Class floors: a share of each class that every epoch keeps."""

from __future__ import annotations

import numpy as np

from ted_core._validation import check_real
from ted_core.selection.randomness import tie_hash
from ted_core.strategies.base import Labels, Request, StrategyDefaults
from ted_core.typing import Ids, Scores, id_dtype


class Floored(StrategyDefaults):
    """A strategy with a `class_floor`, which each declares in its own place."""

    class_floor: float

    def __post_init__(self) -> None:
        """Refuse a floor that is no share."""
        floor = check_real("class_floor", self.class_floor, low=0, high=1)
        object.__setattr__(self, "class_floor", floor)

    def check(self, n: int, smallest: int, labels: Labels | None) -> None:
        """Refuse missing labels, and floors above the smallest epoch."""
        del n
        if self.class_floor == 0:
            return
        if labels is None:
            msg = f"`labels` must be given for `class_floor`={self.class_floor:g}"
            raise ValueError(msg)
        needed = int(_minimums(labels, self.class_floor)[1].sum())
        if needed > smallest:
            msg = (
                f"`class_floor` must leave at most {smallest} samples, the smallest "
                f"epoch of the schedule, got {self.class_floor:g} which keeps {needed}"
            )
            raise ValueError(msg)


def keep_highest(
    keys: Scores, request: Request, *, floor: float = 0.0, epoch: int | None = None
) -> Ids:
    """Return the ids of the highest keys: each class's to its floor, then the best.

    `epoch` is the key of the hash among equal keys, the request's by default. O(n);
    with floors O(n log n) and 33 bytes a sample.
    """
    epoch = request.epoch if epoch is None else epoch
    labels, n = request.labels, request.n
    if request.count == request.total or floor == 0 or labels is None:
        return request.top(keys, epoch=epoch)
    hashes = tie_hash(np.arange(n), seed=request.seed, epoch=epoch)
    best_first = np.lexsort((hashes, keys))[::-1]
    by_class = best_first[np.argsort(labels[best_first], kind="stable")]
    sizes, minimums = _minimums(labels, floor)
    index_in_class = np.arange(n) - np.repeat(np.cumsum(sizes) - sizes, sizes)
    kept = np.zeros(n, dtype=bool)
    kept[by_class[index_in_class < np.repeat(minimums, sizes)]] = True
    rest = best_first[~kept[best_first]]
    kept[rest[: request.count - int(kept.sum())]] = True
    return np.flatnonzero(kept).astype(id_dtype(n))


def _minimums(labels: Labels, floor: float) -> tuple[Ids, Ids]:
    """Return the size of each class and how many of it every epoch keeps, 1 or more."""
    _, sizes = np.unique(labels, return_counts=True)
    return sizes, np.maximum(1, np.floor(floor * sizes)).astype(np.int64)
