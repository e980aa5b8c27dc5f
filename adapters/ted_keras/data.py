"""What ``fit`` reads: the samples an epoch keeps, from arrays or a function of ids."""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, TypeAlias

import keras
import numpy as np
from keras import tree
from numpy.typing import NDArray

from ted_core._validation import as_array, check_bool, check_real
from ted_core.typing import Ids
from ted_keras._batch_columns import add_weights, pack
from ted_keras._validation import check_count

__all__ = ["TEDData"]

Fetch: TypeAlias = Callable[[NDArray[np.int64]], Any]
"""Takes ids, shape (B,), and gives ``(x, y)`` or ``(x, y, weights)`` of B rows."""

_PARTS = (2, 3)  # (x, y), (x, y, weights)
_STREAMS = {"Dataset", "DataLoader", "IterableDataset", "PyDataset", "Sequence"}


class Source:
    """Give ``(x, y, weights)`` of the samples asked for, as NumPy arrays."""

    def __init__(
        self,
        fetch: Fetch,
        n: int,
        *,
        checked: bool = False,
        class_weight: Mapping[int, float] | None = None,
    ) -> None:
        self.n = n
        self._fetch, self._checked = fetch, checked
        self._class_weight = class_weight

    def __call__(self, ids: NDArray[np.int64]) -> tuple[Any, Any, Any]:
        """Return the rows of `ids`, and their weights, float32, shape (B,), or None."""
        parts = self._fetch(ids)
        if self._checked:  # arrays, with the weights of their classes
            return parts  # type: ignore[no-any-return]
        if not isinstance(parts, tuple) or len(parts) not in _PARTS:
            name = _type_name(parts)
            msg = f"`data(ids)` must be (x, y) or (x, y, weights), got {name}"
            raise TypeError(msg)
        x, y = (
            _as_tuples(
                tree.map_structure(lambda leaf: as_array("data(ids)", leaf), part)
            )
            for part in parts[:2]
        )
        for leaf in tree.flatten((x, y)):
            _check_rows("data(ids)", leaf, ids.size)
        weights = parts[2] if len(parts) == _PARTS[1] else None
        if weights is not None:
            weights = _check_weights(weights, ids.size)
        return x, y, _weigh_classes(y, weights, self._class_weight)

    def misplaced(self, ids: NDArray[np.int64]) -> bool:
        """Tell whether a function gives its rows in an order other than that of `ids`.

        Arrays never do. The ids are asked for once more, reversed: their rows must come
        reversed. Rows that change with every call, as by augmentation, tell nothing.
        """
        if self._checked or ids.size < 2:  # noqa: PLR2004
            return False
        asked, reversed_, again = _rows(self(ids)), _rows(self(ids[::-1].copy())), None
        for leaf, (mine, other) in enumerate(zip(asked, reversed_, strict=False)):
            if mine == other[::-1] or sorted(mine) != sorted(other):
                continue
            again = _rows(self(ids)) if again is None else again
            if again[leaf] == mine:
                return True
        return False


def _rows(batch: tuple[Any, Any, Any]) -> list[list[bytes]]:
    """Return the rows of each array of a batch."""
    leaves = [leaf for leaf in tree.flatten(batch) if leaf is not None]
    return [[np.asarray(row).tobytes() for row in leaf] for leaf in leaves]


def _weigh_classes(
    y: Any, weights: NDArray[np.float32] | None, table: Mapping[int, float] | None
) -> NDArray[np.float32] | None:
    """Return weights times that of each sample's class; 1 for one that is not named."""
    if table is None:
        return weights
    if tree.is_nested(y):
        msg = "`class_weight` must go with one output, got several targets"
        raise ValueError(msg)
    if y.dtype.kind not in "fiub":
        msg = f"`class_weight` must go with classes as numbers, got dtype {y.dtype}"
        raise TypeError(msg)
    one_hot = y.ndim == 2 and y.shape[1] > 1  # noqa: PLR2004
    if not one_hot and y.size != len(y):
        msg = (
            "`class_weight` must go with targets of shape (n,), (n, 1) or one-hot (n, "
            f"C), got shape {y.shape}; give weights of the samples: (x, y, weights)"
        )
        raise ValueError(msg)
    if one_hot and y.size and not (y.min() >= 0 and y.max() <= 1):
        msg = (
            f"`class_weight` must go with one class a sample, got targets of shape "
            f"{y.shape} from {y.min()} to {y.max()}, which are not one-hot; give "
            "weights of the samples: (x, y, weights)"
        )
        raise ValueError(msg)
    classes = y.argmax(axis=1) if one_hot else np.rint(y).astype(np.int64).reshape(-1)
    known, index = np.unique(classes, return_inverse=True)
    factors = np.array([table.get(int(k), 1.0) for k in known], np.float32)[index]
    return factors if weights is None else weights * factors


def _check_class_weight(class_weight: Any) -> dict[int, float] | None:
    """Return the weights of the classes, checked."""
    if class_weight is None:
        return None
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


def make_source(
    data: Any,
    *,
    n: int | None = None,
    class_weight: Mapping[int, float] | None = None,
) -> Source:
    """Check what a user gave as data: arrays, or a function of ids."""
    class_weight = _check_class_weight(class_weight)
    if isinstance(data, tuple) and len(data) in _PARTS:
        return _from_arrays(data, n, class_weight)
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
    return Source(data, n, class_weight=class_weight)


def _from_arrays(
    data: tuple[Any, ...], n: int | None, class_weight: Mapping[int, float] | None
) -> Source:
    if any(part is None for part in data[:2]):
        msg = "`data` must have inputs and targets, got None"
        raise TypeError(msg)
    x, y = (_as_tuples(tree.map_structure(_as_array, part)) for part in data[:2])
    size = len(tree.flatten(x)[0])
    for leaf in tree.flatten((x, y)):
        _check_rows("data", leaf, size)
    if n is not None and check_count("n", n) != size:
        msg = f"`n` must be the number of samples, {size}, got {n}"
        raise ValueError(msg)
    weights = data[2] if len(data) == _PARTS[1] else None
    if weights is not None:
        weights = _check_weights(weights, size)
    weights = _weigh_classes(y, weights, class_weight)

    def fetch(ids: NDArray[np.int64]) -> Any:
        rows = tree.map_structure(lambda leaf: leaf.take(ids, axis=0), (x, y))
        return *rows, None if weights is None else weights[ids]

    return Source(fetch, size, checked=True)


def _as_array(leaf: Any) -> NDArray[Any]:
    if not hasattr(leaf, "__array__") and not hasattr(leaf, "__dlpack__"):
        msg = f"`data` must hold arrays, got {_type_name(leaf)}"
        raise TypeError(msg)
    return as_array("data", leaf)


def _as_tuples(part: Any) -> Any:
    """Give lists as tuples: TensorFlow's data takes a list for one array."""
    if isinstance(part, dict):
        return {name: _as_tuples(inner) for name, inner in part.items()}
    if isinstance(part, list | tuple):
        return tuple(_as_tuples(inner) for inner in part)
    return part


def _check_rows(name: str, leaf: NDArray[Any], size: int) -> None:
    if leaf.ndim == 0 or len(leaf) != size:
        msg = f"`{name}` must have {size} rows everywhere, got shape {leaf.shape}"
        raise ValueError(msg)


def _check_weights(weights: Any, size: int) -> NDArray[np.float32]:
    if tree.is_nested(weights):
        msg = (
            f"`weights` must be one array of shape ({size},), got "
            f"{_type_name(weights)}; weigh outputs by `loss_weights` of `compile`"
        )
        raise TypeError(msg)
    found = as_array("weights", weights)
    if found.dtype.kind not in "fiub":
        msg = f"`weights` must hold numbers, got dtype {found.dtype}"
        raise TypeError(msg)
    found = found.astype(np.float32)
    if found.shape != (size,):
        msg = f"`weights` must have shape ({size},), got shape {found.shape}"
        raise ValueError(msg)
    if not (np.isfinite(found).all() and (found >= 0).all()):
        msg = "`weights` must be finite and at least 0, got others"
        raise ValueError(msg)
    return found


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
    on_read : callable
        Called when Keras asks for the length: a fit may begin.
    on_idle_epoch : callable
        Called when an epoch begins that nobody planned.
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
        on_read: Callable[[], None] = lambda: None,
        on_idle_epoch: Callable[[], None] = lambda: None,
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
        self._on_read, self._on_idle_epoch = on_read, on_idle_epoch
        # Keras asks for the length once and keeps the answer: an array without a
        # dimension, written anew at each epoch's begin, tells it every epoch's length.
        self._length = np.zeros((), np.int64)
        self._epoch = _Epoch(np.zeros(0, np.int64), np.zeros((0, 3), np.float32))
        self._lock = threading.Lock()
        self._planned = self._ended = False
        # Batches that come in the order they were asked for undo Keras' shuffle
        # of them; workers ask in no order, and processes do not see each other.
        self.keeps_order = self.workers <= 1 and not self.use_multiprocessing

    def begin(self, order: Ids, scale: NDArray[np.float32]) -> None:
        """Take the ids (k,) of an epoch, in order, and the factors of their losses."""
        self._epoch = _Epoch(order.astype(np.int64), pack(order, scale))
        self._length[...] = -(-order.size // self.batch_size)

    def expect_epoch(self) -> None:
        """Let the next epoch begin: a callback has planned it."""
        self._planned = True

    def show_one_batch(self) -> None:
        """Be one batch long, so that a look at the data reads no further."""
        self._length[...] = 1

    @property
    def length(self) -> NDArray[np.int64]:
        """The live length, shape (); reading it here starts nothing."""
        return self._length

    @property
    def num_batches(self) -> Any:
        """Batches of the current epoch: an ndarray of int64, shape ()."""
        self._ended = False
        self._on_read()
        return self._length

    def __getitem__(self, index: int) -> tuple[Any, Any, dict[str, Any]]:
        """Return a batch of the current epoch: x, y, and what TED needs in the step."""
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
        planned, self._planned = self._planned, False
        if not planned and self._ended:
            self._on_idle_epoch()

    def on_epoch_end(self) -> None:
        """Remember that an epoch, or the look before the first, is over."""
        self._ended = True

    def __getstate__(self) -> dict[str, Any]:
        """Leave model and lock out: another process needs the rows only."""
        state = self.__dict__.copy()
        state["_on_read"] = state["_on_idle_epoch"] = _nothing
        del state["_lock"]
        return state

    def __setstate__(self, state: dict[str, Any]) -> None:
        """Take over what another process sent."""
        self.__dict__.update(state, _lock=threading.Lock())


def _nothing() -> None:
    """Do nothing, in another process."""
