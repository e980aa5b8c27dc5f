"""What the rankings share: a last layer, classes and blocks, an order of all parts."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ted_core._validation import as_array, check_int
from ted_core.selection._randomness import tie_hash
from ted_core.signals import _formulas
from ted_core.typing import Floats, Ids, Scores

BLOCK = 5000
"""Samples of a block by default: pairs of them fit 200 MB, as a class of CIFAR-10."""

_MAX_RANKS = 1 << 24  # float32 tells no more integers apart

Order = Callable[[Ids, int], NDArray[np.intp]]
"""Takes a part's ids, and how many to rank; returns their places in it, best first."""

_MIN_CLASSES = 2
_NUMBERS = 1 << 20  # float64 numbers, 8 MB, of a block of rows


def row_blocks(n: int, width: int) -> Iterator[slice]:
    """Yield slices that divide n rows of so many numbers into blocks."""
    rows = max(1, _NUMBERS // width)
    for start in range(0, n, rows):
        yield slice(start, min(start + rows, n))


def check_matrix(
    name: str, value: object, shape: tuple[int | str, int | str]
) -> NDArray[np.float32]:
    """Return a finite float32 matrix of a shape, in which a letter fits any size."""
    array = as_array(name, value, kinds="fiu")
    fits = array.ndim == len(shape) and all(
        size == wanted if isinstance(wanted, int) else size > 0
        for size, wanted in zip(array.shape, shape, strict=True)
    )
    if not fits:
        rule = f"({', '.join(map(str, shape))})"
        msg = f"`{name}` must have shape {rule} and not be empty, got {array.shape}"
        raise ValueError(msg)
    # float32 leaves float64 the room to square and to multiply without overflow.
    with np.errstate(over="ignore"):
        matrix: NDArray[np.float32] = array.astype(np.float32, copy=False)
    if not np.isfinite(matrix).all():
        row = int(np.flatnonzero(~np.isfinite(matrix).all(axis=1))[0])
        msg = f"`{name}` must be finite in float32, got another number in row {row}"
        raise ValueError(msg)
    return matrix


def check_logits(
    name: str, value: object, classes: int | str = "C"
) -> NDArray[np.float32]:
    """Return logits (n, C) of at least one sample and two classes."""
    z = check_matrix(name, value, ("n", classes))
    if z.shape[1] < _MIN_CLASSES:
        msg = f"`{name}` must have at least {_MIN_CLASSES} classes, got shape {z.shape}"
        raise ValueError(msg)
    return z


def check_labels(
    name: str, value: object, n: int, classes: int | None = None
) -> NDArray[np.signedinteger[Any]]:
    """Return labels (n,): any integers, or indices of so many classes."""
    y = as_array(name, value)
    if y.dtype.kind not in "iu":
        msg = f"`{name}` must hold class indices, got dtype {y.dtype}"
        raise TypeError(msg)
    if y.shape != (n,):
        msg = f"`{name}` must have shape ({n},), one a sample, got shape {y.shape}"
        raise ValueError(msg)
    wrong = np.zeros(n, bool) if classes is None else (y < 0) | (y >= classes)
    if wrong.any():
        msg = (
            f"`{name}` must be in [0, {classes}), got {y[wrong][0]} at "
            f"{int(np.flatnonzero(wrong)[0])}"
        )
        raise ValueError(msg)
    return y.astype(np.int64, copy=False)


def log_softmax(z: NDArray[np.float32]) -> Floats:
    """Return log p of logits (m, C)."""
    return np.asarray(_formulas.log_softmax(np, z.astype(np.float64)))


class LastLayer:
    """Features, logits and labels of n samples, and their gradients (p - y) (h, 1)'."""

    def __init__(
        self,
        features: object,
        logits: object,
        labels: object,
        *,
        bias: bool,
        names: tuple[str, str, str] = ("features", "logits", "labels"),
        widths: tuple[int | str, int | str] = ("D", "C"),
    ) -> None:
        """Check the arrays, which errors call by `names`, as of these columns."""
        self.logits = check_logits(names[1], logits, widths[1])
        self.n, self.classes = self.logits.shape
        self._h = check_matrix(names[0], features, (self.n, widths[0]))
        self.widths = self._h.shape[1], self.classes
        self.labels = check_labels(names[2], labels, self.n, self.classes)
        self._bias = bias
        self.width = self._h.shape[1] + bias

    def features(self, ids: Any) -> Floats:
        """Return (h, 1), or h without a bias."""
        h = self._h[ids]
        out = np.ones((len(h), self.width))
        out[:, : h.shape[1]] = h
        return out

    def errors(self, ids: Any, logits: NDArray[Any] | None = None) -> Floats:
        """Return p - y, of other logits than the samples' own if they are given."""
        z = self.logits[ids] if logits is None else logits
        y = np.zeros(z.shape)
        y[np.arange(len(y)), self.labels[ids]] = 1
        errors = _formulas.label_errors(np, z.astype(np.float64), y)
        return np.asarray(errors, np.float64)

    def blocks(self, n: int) -> Iterator[slice]:
        """Yield slices of n samples whose features are a block."""
        return row_blocks(n, self.width + self.classes)


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
    """Return `count` for the first sample of all parts down to 1; 0 for the others."""
    # Every prefix of the ranking is shared among the parts in proportion to their
    # sizes, as Sainte-Lague shares seats: place i of m comes in at (i + 1/2) / m.
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
