"""Divide a data set into classes and blocks, and rank it from the orders of these."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ted_core._validation import check_int
from ted_core.selection.randomness import tie_hash
from ted_core.typing import Ids, Scores

BLOCK = 5000
"""Samples of a block by default: pairs of them fit 200 MB, as a class of CIFAR-10."""

_MAX_RANKS = 1 << 24  # float32 tells no more integers apart

Order = Callable[[Ids, int], NDArray[np.intp]]
"""Takes a part's ids, and how many to rank; returns their places in it, best first."""


def check_count(count: object, n: int) -> int:
    """Return how many samples to rank."""
    return check_int("count", count, minimum=1, maximum=min(n, _MAX_RANKS))


def check_kept(count: object, n: int) -> int:
    """Return how many samples to keep, where the others are ranked; None for few."""
    least = max(1, n - _MAX_RANKS)
    return (
        least if count is None else check_int("count", count, minimum=least, maximum=n)
    )


def hash_order(n: int, *, seed: int) -> NDArray[np.int64]:
    """Return the ids with the highest hash first: who comes first among equals."""
    return np.argsort(tie_hash(np.arange(n), seed=seed))[::-1].astype(np.int64)


def divide(
    n: int, labels: NDArray[Any] | None, *, block: int, seed: int
) -> list[NDArray[np.int64]]:
    """Return the ids of each class, in random blocks; within each in hash order."""
    block = check_int("block", block, minimum=1)
    ids = hash_order(n, seed=seed)
    classes = [ids]
    if labels is not None:
        by_class = ids[np.argsort(labels[ids], kind="stable")]
        sizes = np.unique(labels, return_counts=True)[1]
        classes = np.split(by_class, np.cumsum(sizes)[:-1])
    return [
        part
        for each in classes
        for part in np.array_split(each, -(-each.size // block))
    ]


def ranked(parts: list[NDArray[np.int64]], count: int, order: Order) -> Scores:
    """Return `count` for the first sample of all parts down to 1; 0 for the others.

    Every prefix of the ranking is shared among the parts in proportion to their sizes,
    as Sainte-Lague shares seats: place i of m comes in at (i + 1/2) / m.
    """
    sizes = np.array([part.size for part in parts])
    comes_in = np.concatenate([(np.arange(size) + 0.5) / size for size in sizes])
    owner = np.repeat(np.arange(sizes.size), sizes)
    owner = owner[np.argsort(comes_in, kind="stable")[:count]]
    by_part = np.argsort(owner, kind="stable")
    shares = np.bincount(owner, minlength=sizes.size)
    scores = np.zeros(int(sizes.sum()), np.float32)
    for part, ranks in zip(
        parts, np.split(by_part, np.cumsum(shares)[:-1]), strict=True
    ):
        if ranks.size:
            scores[part[order(part, ranks.size)]] = count - ranks
    return scores
