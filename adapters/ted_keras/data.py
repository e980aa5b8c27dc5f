"""What ``fit`` reads: the samples an epoch keeps, from arrays or a function of ids."""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import partial
from typing import Any, TypeAlias

import keras
import numpy as np
from keras import tree
from numpy.typing import NDArray

from ted_core._validation import as_array, as_scores, check_bool, check_real
from ted_core.typing import Ids
from ted_keras._batch_columns import add_weights, pack
from ted_keras._validation import check_count

__all__ = ["TEDData"]

Fetch: TypeAlias = Callable[[NDArray[np.int64]], Any]
"""Takes ids, shape (B,), and gives ``(x, y)`` or ``(x, y, weights)`` of B rows."""

_PARTS = (2, 3)  # (x, y), (x, y, weights)
_STREAMS = {"Dataset", "DataLoader", "IterableDataset", "PyDataset", "Sequence"}

Parts: TypeAlias = tuple[Any, Any, NDArray[np.float32] | None]
"""Inputs, targets and weights, float32, of as many rows each."""


class Source:
    """Give ``(x, y, weights)`` of the samples asked for, as NumPy arrays."""

    def __init__(self, data: Parts | Fetch, n: int, classes: dict[int, float]) -> None:
        self._data, self.n, self._classes = data, n, classes

    def __call__(self, ids: NDArray[np.int64]) -> Parts:
        """Return the rows of `ids`."""
        if not callable(self._data):
            x, y, weights = self._data
            rows = tree.map_structure(lambda leaf: leaf.take(ids, axis=0), (x, y))
            return *rows, None if weights is None else weights[ids]
        parts = self._data(ids)
        if not isinstance(parts, tuple) or len(parts) not in _PARTS:
            name = _type_name(parts)
            msg = f"`data(ids)` must be (x, y) or (x, y, weights), got {name}"
            raise TypeError(msg)
        return _check_parts("data(ids)", parts, self._classes, size=ids.size)

    def misplaced(self, ids: NDArray[np.int64], batch: Parts) -> bool:
        """Return whether a function gives `batch` in another order than that of `ids`.

        Arrays never do. The ids are asked for once more, reversed: their rows must come
        reversed. Rows that change with every call, as by augmentation, prove nothing.
        """
        if not callable(self._data) or ids.size < 2:  # noqa: PLR2004
            return False
        asked, reversed_, again = _rows(batch), _rows(self(ids[::-1].copy())), None
        for leaf, (mine, other) in enumerate(zip(asked, reversed_, strict=False)):
            if mine == other[::-1] or sorted(mine) != sorted(other):
                continue
            again = _rows(self(ids)) if again is None else again
            if again[leaf] == mine:
                return True
        return False


def make_source(
    data: Any, *, n: int | None = None, class_weight: Mapping[int, float] | None = None
) -> Source:
    """Check what a user gave as data: arrays, or a function of ids."""
    classes = _check_class_weight(class_weight)
    if isinstance(data, tuple) and len(data) in _PARTS:
        parts = _check_parts("data", data, classes)
        size = len(tree.flatten(parts[0])[0])
        if n is not None and check_count("n", n) != size:
            msg = f"`n` must be the number of samples, {size}, got {n}"
            raise ValueError(msg)
        return Source(parts, size, classes)
    kinds = {kind.__name__ for kind in type(data).__mro__}
    if kinds & _STREAMS or not callable(data):
        msg = (
            f"`data` must be (x, y), (x, y, weights) or a function of ids, got "
            f"{_type_name(data)}; put a pipeline behind a function: data=fetch, n=N"
        )
        raise TypeError(msg)
    if n is None:
        msg = "`n` must be given with a function as `data`, got None"
        raise ValueError(msg)
    return Source(data, n, classes)


def _check_parts(
    name: str,
    parts: tuple[Any, ...],
    classes: dict[int, float],
    size: int | None = None,
) -> Parts:
    """Return the parts as NumPy, of `size` rows each, or of as many as the first."""
    to_arrays = partial(tree.map_structure, partial(_as_leaf, name))
    x, y = (_as_tuples(to_arrays(part)) for part in parts[:2])
    leaves = tree.flatten((x, y))
    size = np.atleast_1d(leaves[0]).shape[0] if size is None else size
    for leaf in leaves:
        if leaf.ndim == 0 or len(leaf) != size:
            msg = f"`{name}` must have {size} rows everywhere, got shape {leaf.shape}"
            raise ValueError(msg)
    weights = parts[2] if len(parts) == _PARTS[1] else None
    if weights is not None:
        weights = _check_weights(weights, size)
    return x, y, _weigh_classes(y, weights, classes) if classes else weights


def _as_leaf(name: str, leaf: Any) -> NDArray[Any]:
    if not hasattr(leaf, "__array__") and not hasattr(leaf, "__dlpack__"):
        msg = f"`{name}` must hold arrays, got {_type_name(leaf)}"
        raise TypeError(msg)
    return as_array(name, leaf)


def _as_tuples(part: Any) -> Any:
    """Give lists as tuples: TensorFlow's data takes a list for one array."""
    if isinstance(part, dict):
        return {name: _as_tuples(inner) for name, inner in part.items()}
    if isinstance(part, list | tuple):
        return tuple(_as_tuples(inner) for inner in part)
    return part


def _check_weights(weights: Any, size: int) -> NDArray[np.float32]:
    """Return the weights of samples as float32 of shape (size,), checked."""
    if tree.is_nested(weights):
        msg = (
            f"`weights` must be one array of shape ({size},), got "
            f"{_type_name(weights)}; weigh outputs by `loss_weights` of `compile`"
        )
        raise TypeError(msg)
    found = as_scores("weights", weights)
    if found.shape != (size,):
        msg = f"`weights` must have shape ({size},), got shape {found.shape}"
        raise ValueError(msg)
    if not ((found >= 0) & (found < np.inf)).all():
        msg = "`weights` must be finite and at least 0, got others"
        raise ValueError(msg)
    return found


def _check_class_weight(class_weight: Any) -> dict[int, float]:
    """Return the weights of the classes, checked; none without `class_weight`."""
    if class_weight is None:
        return {}
    if not isinstance(class_weight, Mapping):
        name = _type_name(class_weight)
        msg = f"`class_weight` must map classes to weights, got {name}"
        raise TypeError(msg)
    return {
        check_count("class of `class_weight`", k, minimum=0): check_real(
            f"class_weight[{k}]", w, low=0, high=float(np.finfo(np.float32).max)
        )
        for k, w in class_weight.items()
    }


def _weigh_classes(
    y: Any, weights: NDArray[np.float32] | None, table: dict[int, float]
) -> NDArray[np.float32]:
    """Return weights times that of each sample's class; 1 for one that is not named."""
    if tree.is_nested(y):
        msg = "`class_weight` must go with one output, got several targets"
        raise ValueError(msg)
    if y.dtype.kind not in "fiub":
        msg = f"`class_weight` must go with classes as numbers, got dtype {y.dtype}"
        raise TypeError(msg)
    one_hot = y.ndim == 2 and y.shape[1] > 1  # noqa: PLR2004
    within = not one_hot or not y.size or (y.min() >= 0 and y.max() <= 1)
    if not within or not (one_hot or y.size == len(y)):
        values = "" if within else f" with values from {y.min()} to {y.max()}"
        msg = (
            "`class_weight` must go with targets of shape (n,), (n, 1) or one-hot (n, "
            f"C), got shape {y.shape}{values}; give weights of the samples: (x, y, "
            "weights)"
        )
        raise ValueError(msg)
    classes = y.argmax(axis=1) if one_hot else np.rint(y).astype(np.int64).reshape(-1)
    known, index = np.unique(classes, return_inverse=True)
    factors = np.array([table.get(int(k), 1.0) for k in known], np.float32)[index]
    return factors if weights is None else weights * factors


def _rows(batch: Parts) -> list[list[bytes]]:
    """Return the rows of each array of a batch."""
    leaves = [leaf for leaf in tree.flatten(batch) if leaf is not None]
    return [[np.asarray(row).tobytes() for row in leaf] for leaf in leaves]


def _type_name(value: object) -> str:
    return f"{type(value).__module__}.{type(value).__qualname__}"


@dataclass
class _Epoch:
    """What is left of one epoch; a batch's position is fixed when first asked for."""

    order: Ids
    rows: NDArray[np.float32]
    positions: dict[int, int] = field(default_factory=dict)


class TEDData(keras.utils.PyDataset):  # type: ignore[misc]
    """Batches of the current epoch's kept samples: ``ted.data`` of a session.

    Parameters
    ----------
    source : Source
        Gives rows by ids.
    batch_size : int
        Samples of a batch.
    workers, use_multiprocessing, max_queue_size : int, bool, int
        As of :class:`keras.utils.PyDataset`.

    Notes
    -----
    A batch is ``(x, y, columns)``: as sample weights it carries ids, TED's factor of
    each loss, and the user's weights if there are any.
    """

    def __init__(
        self,
        source: Source,
        *,
        batch_size: int,
        workers: int = 1,
        use_multiprocessing: bool = False,
        max_queue_size: int = 10,
    ) -> None:
        # Keras takes anything, and fails over it later.
        super().__init__(
            workers=check_count("workers", workers, minimum=0),
            use_multiprocessing=check_bool("use_multiprocessing", use_multiprocessing),
            max_queue_size=check_count("max_queue_size", max_queue_size),
        )
        self.source, self.batch_size = source, batch_size
        # Attached when Keras asks for the length, for a fit may begin; refuses an epoch
        # that nobody planned; shows the open epoch to a reader outside of a fit.
        self.session: Any = None
        self.stale = True
        # Keras asks for the length once and keeps the answer: an array without a
        # dimension, written anew at each epoch's begin, gives it every epoch's length.
        self.length = np.zeros((), np.int64)
        self._epoch = _Epoch(np.zeros(0, np.int64), np.zeros((0, 3), np.float32))
        self._lock = threading.Lock()
        self.planned = self._ended = False
        # Batches that come in the order they were asked for undo Keras' shuffle
        # of them; workers ask in no order, and processes do not see each other.
        self.keeps_order = self.workers <= 1 and not self.use_multiprocessing

    def begin(self, order: Ids, scale: NDArray[np.float32]) -> None:
        """Take the ids (k,) of an epoch, in order, and the factors of their losses."""
        self._epoch = _Epoch(order.astype(np.int64), pack(order, scale))
        self.length[...] = -(-order.size // self.batch_size)
        self.stale = False

    @property
    def num_batches(self) -> Any:
        """Batches of the current epoch: an ndarray of int64, shape ()."""
        self._ended = False
        if self.session is not None:
            self.session.attach()
        self._refresh()
        return self.length

    def __getitem__(self, index: int) -> tuple[Any, Any, dict[str, Any]]:
        """Return a batch of the current epoch: x, y, and what TED needs in the step."""
        self._refresh()
        epoch = self._epoch
        steps = -(-epoch.order.size // self.batch_size)
        if not 0 <= index < steps:
            msg = f"`index` must be in [0, {steps}), got {index}"
            raise IndexError(msg)
        position = int(index)
        if self.keeps_order:
            with self._lock:
                position = epoch.positions.setdefault(position, len(epoch.positions))
        part = slice(position * self.batch_size, (position + 1) * self.batch_size)
        x, y, weights = self.source(epoch.order[part])
        return x, y, add_weights(epoch.rows[part], weights)

    def on_epoch_begin(self) -> None:
        """Refuse an epoch that no callback has planned."""
        planned, self.planned = self.planned, False
        if self.session is not None and self._ended and not planned:
            self.session.raise_idle_epoch()

    def on_epoch_end(self) -> None:
        """Remember that an epoch, or the look before the first, is over."""
        self._ended = True

    def _refresh(self) -> None:
        if self.stale and self.session is not None:
            self.session.show()

    def __getstate__(self) -> dict[str, Any]:
        """Leave model and lock out: another process needs the rows only."""
        return self.__dict__ | {"session": None, "_lock": None}

    def __setstate__(self, state: dict[str, Any]) -> None:
        """Take over what another process sent."""
        self.__dict__.update(state, _lock=threading.Lock())
