"""Class floors: a share of each class that every epoch keeps."""

from __future__ import annotations

import math
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from ted_core._validation import check_real
from ted_core.selection.randomness import tie_hash
from ted_core.strategies.base import Request
from ted_core.typing import Ids, Scores, id_dtype

__all__ = ["Labels", "check_class_floor", "check_floors", "keep_highest"]

Labels: TypeAlias = NDArray[np.signedinteger[Any]]
"""Class of each sample, shape (n,)."""


def check_class_floor(floor: float) -> float:
    """Return `floor` as a float, or refuse one that is no share.

    Parameters
    ----------
    floor : float
        Least share of each class, in [0, 1].

    Returns
    -------
    float
        The same.

    Raises
    ------
    ValueError, TypeError
        It is no number in [0, 1].
    """
    return check_real("class_floor", floor, low=0, high=1)


def check_floors(floor: float, smallest: int, labels: Labels | None) -> None:
    """Refuse missing labels, and floors above the smallest epoch.

    Parameters
    ----------
    floor : float
        Least share of each class, in [0, 1]; 0 asks for nothing.
    smallest : int
        Least number of samples that an epoch keeps.
    labels : ndarray of int, shape (n,), or None
        Class of each sample.

    Raises
    ------
    ValueError
        There are no labels, or the floors need more than `smallest` samples.
    """
    if floor == 0:
        return
    if labels is None:
        msg = f"`labels` must be given for `class_floor`={floor:g}"
        raise ValueError(msg)
    _, sizes = np.unique(labels, return_counts=True)
    needed = sum(_at_least(int(size), floor) for size in sizes)
    if needed > smallest:
        msg = (
            f"`class_floor` must leave at most {smallest} samples, the smallest "
            f"epoch of the schedule, got {floor:g} which keeps {needed}"
        )
        raise ValueError(msg)


def keep_highest(
    keys: Scores, request: Request, *, floor: float = 0.0, epoch: int | None = None
) -> Ids:
    """Return the ids of the `request.count` highest keys, each class at its floor.

    Parameters
    ----------
    keys : ndarray of float32, shape (n,)
        What is ranked; ``inf`` above all.
    request : Request
        Count, seed, epoch and labels.
    floor : float, default 0
        Least share of each class, in [0, 1]; at least one sample of each if above 0.
    epoch : int, optional
        Key of the hash among equal keys; that of `request` by default.

    Returns
    -------
    ndarray of int, shape (count,)
        Kept ids, ascending: the best of each class up to its floor, then the best
        of the rest.

    Notes
    -----
    O(n); with floors O(n log n) and 33 bytes a sample of scratch space.
    """
    epoch = request.epoch if epoch is None else epoch
    labels = request.labels
    if request.count == request.total or floor == 0 or labels is None:
        return request.top(keys, epoch=epoch)
    hashes = tie_hash(np.arange(request.n), seed=request.seed, epoch=epoch)
    ranks = np.lexsort((hashes, keys))[::-1]
    by_class = ranks[np.argsort(labels[ranks], kind="stable")]
    sizes = np.unique(labels, return_counts=True)[1]
    starts = np.cumsum(sizes) - sizes
    floors = np.array([_at_least(int(size), floor) for size in sizes])
    place = np.arange(request.n) - np.repeat(starts, sizes)
    reserved = np.zeros(request.n, dtype=bool)
    reserved[by_class[place < np.repeat(floors, sizes)]] = True
    rest = ranks[~reserved[ranks]][: request.count - int(reserved.sum())]
    reserved[rest] = True
    return np.flatnonzero(reserved).astype(id_dtype(request.n))


def _at_least(size: int, share: float) -> int:
    return max(1, math.floor(share * size))
