"""Where samples come from: arrays in memory, or a function of ids."""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, TypeAlias, TypedDict, Unpack

import keras
import numpy as np
from keras import tree
from numpy.typing import NDArray

from ted_core.typing import Ids
from ted_keras._validation import check_workers
from ted_keras.batch_columns import add_weights, pack

__all__ = [
    "Fetch",
    "Source",
    "TEDData",
    "WorkerOptions",
    "make_source",
]

Fetch: TypeAlias = Callable[[NDArray[np.int64]], Any]


"""Takes ids, shape (B,), and gives ``(x, y)`` or ``(x, y, weights)`` of B rows."""


_PARTS = (2, 3)


_STREAMS = ("Dataset", "DataLoader", "IterableDataset", "PyDataset", "Sequence")


class Source:
    """Give ``(x, y, weights)`` of the samples asked for, as NumPy arrays.

    Parameters
    ----------
    fetch : callable
        Gives ``(x, y)`` or ``(x, y, weights)`` for ids.
    n : int
        Samples.
    checked : bool, default False
        Whether what it gives needs no look: arrays of its own, weights or None last.
    class_weight : mapping of int to float, optional
        Factor of each class; 1 for one that is not named.

    Examples
    --------
    >>> import numpy as np
    >>> from ted_keras.data import make_source
    >>> source = make_source((np.arange(4.0), np.arange(4)), class_weight={3: 2.0})
    >>> x, y, weights = source(np.array([3, 0]))
    >>> x.tolist(), y.tolist(), weights.tolist()
    ([3.0, 0.0], [3, 0], [2.0, 1.0])
    """

    def __init__(
        self,
        fetch: Fetch,
        n: int,
        *,
        checked: bool = False,
        class_weight: Mapping[int, float] | None = None,
    ) -> None:
        self.n = n
        self._fetch = fetch
        self._checked, self._weighted = checked, class_weight is not None
        self._class_weight = class_weight

    def __call__(self, ids: NDArray[np.int64]) -> tuple[Any, Any, Any]:
        """Return the rows of `ids`, and their weights or None.

        Parameters
        ----------
        ids : ndarray of int64, shape (B,)
            Sample ids.

        Returns
        -------
        x, y : nested structures of ndarray, shapes (B, ...)
            Inputs and targets.
        weights : ndarray of float32, shape (B,), or None
            Weights of the samples.

        Raises
        ------
        TypeError, ValueError
            The function gave something else.
        """
        parts = self._fetch(ids)
        if self._checked and not self._weighted:
            return parts  # type: ignore[no-any-return]
        if not isinstance(parts, tuple) or len(parts) not in _PARTS:
            msg = f"`data(ids)` must be (x, y) or (x, y, weights), got {_say(parts)}"
            raise TypeError(msg)
        x, y = (_tuples(tree.map_structure(np.asarray, part)) for part in parts[:2])
        for leaf in tree.flatten((x, y)):
            _check_rows("data(ids)", leaf, ids.size)
        weights = parts[2] if len(parts) == _PARTS[1] else None
        if weights is None and not self._weighted:
            return x, y, None
        return x, y, self._weigh(y, weights, ids.size)

    def _weigh(self, y: Any, weights: Any, size: int) -> NDArray[np.float32]:
        found = np.ones(size, np.float32)
        if weights is not None:
            found = _check_weights(weights, size)
        if self._class_weight is None:
            return found
        classes = _classes(y)
        table = {int(name): float(w) for name, w in self._class_weight.items()}
        factors = [table.get(int(name), 1.0) for name in classes]
        return np.asarray(found * np.array(factors, np.float32), np.float32)


def make_source(
    data: Any,
    *,
    n: int | None = None,
    class_weight: Mapping[int, float] | None = None,
) -> Source:
    """Check what a user gave as data.

    Parameters
    ----------
    data : tuple or callable
        ``(x, y)`` or ``(x, y, weights)`` of arrays, or a function of ids.
    n : int, optional
        Samples; needed with a function.
    class_weight : mapping of int to float, optional
        Factor of each class.

    Returns
    -------
    Source
        Gives rows by ids.

    Raises
    ------
    TypeError, ValueError
        `data` has no ids, or its lengths differ.

    Examples
    --------
    >>> from ted_keras.data import make_source
    >>> make_source(lambda ids: (ids, ids), n=3).n
    3
    """
    if class_weight is not None and not isinstance(class_weight, Mapping):
        msg = f"`class_weight` must map classes to weights, got {_say(class_weight)}"
        raise TypeError(msg)
    if isinstance(data, tuple) and len(data) in _PARTS:
        return _from_arrays(data, n, class_weight)
    kinds = {kind.__name__ for kind in type(data).__mro__}
    if kinds & set(_STREAMS) or not callable(data):
        msg = (
            f"`data` must be (x, y), (x, y, weights) or a function of ids, got "
            f"{_say(data)}; put a pipeline behind a function: data=fetch, n=N"
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
    x, y = (_tuples(tree.map_structure(_array, part)) for part in data[:2])
    size = len(tree.flatten(x)[0])
    for leaf in tree.flatten((x, y)):
        _check_rows("data", leaf, size)
    if n is not None and n != size:
        msg = f"`n` must be the number of samples, {size}, got {n}"
        raise ValueError(msg)
    weights = data[2] if len(data) == _PARTS[1] else None
    if weights is not None:
        weights = _check_weights(weights, size)

    def fetch(ids: NDArray[np.int64]) -> Any:
        rows = tree.map_structure(lambda leaf: leaf.take(ids, axis=0), (x, y))
        return *rows, None if weights is None else weights[ids]

    return Source(fetch, size, checked=True, class_weight=class_weight)


def _array(leaf: Any) -> NDArray[Any]:
    if not hasattr(leaf, "__array__") and not hasattr(leaf, "__dlpack__"):
        msg = f"`data` must hold arrays, got {_say(leaf)}"
        raise TypeError(msg)
    return np.asarray(leaf)


def _tuples(part: Any) -> Any:
    """Give lists as tuples: TensorFlow's data takes a list for one array."""
    if isinstance(part, dict):
        return {name: _tuples(inner) for name, inner in part.items()}
    if isinstance(part, list | tuple):
        return tuple(_tuples(inner) for inner in part)
    return part


def _check_rows(name: str, leaf: NDArray[Any], size: int) -> None:
    if leaf.ndim == 0 or len(leaf) != size:
        msg = f"`{name}` must have {size} rows everywhere, got shape {leaf.shape}"
        raise ValueError(msg)


def _check_weights(weights: Any, size: int) -> NDArray[np.float32]:
    found = np.asarray(weights, np.float32)
    if found.shape != (size,):
        msg = f"`weights` must have shape ({size},), got shape {found.shape}"
        raise ValueError(msg)
    if not (np.isfinite(found).all() and (found >= 0).all()):
        msg = "`weights` must be finite and at least 0, got others"
        raise ValueError(msg)
    return found


def _classes(y: Any) -> NDArray[Any]:
    if tree.is_nested(y):
        msg = "`class_weight` must go with one output, got several targets"
        raise ValueError(msg)
    if y.ndim > 1 and y.shape[-1] != 1:
        return np.asarray(y.argmax(axis=-1)).reshape(len(y))
    classes: NDArray[Any] = np.rint(y).astype(np.int64).reshape(len(y))
    return classes


def _say(value: object) -> str:
    return f"{type(value).__module__}.{type(value).__qualname__}"


class WorkerOptions(TypedDict, total=False):
    """Options of :class:`keras.utils.PyDataset`; see there."""

    workers: int
    use_multiprocessing: bool
    max_queue_size: int


@dataclass
class _Epoch:
    """What is left of one epoch; a batch's place is fixed when first asked for."""

    order: Ids
    rows: NDArray[np.float32]
    places: dict[int, int] = field(default_factory=dict)


class TEDData(keras.utils.PyDataset):  # type: ignore[misc]
    """Batches of the current epoch's kept samples; give it to ``model.fit``.

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
    **options : WorkerOptions
        ``workers``, ``use_multiprocessing``, ``max_queue_size``.

    Notes
    -----
    A batch is ``(x, y, slot)``, where the slot of the sample weights holds ids, TED's
    factor of each loss, and the user's weights if there are any. Its length is one
    NumPy array without a dimension, which Keras keeps and which is written anew at each
    epoch's begin: so ``fit`` reads the length of every epoch, though it asks once.

    Examples
    --------
    >>> import numpy as np
    >>> from ted_keras.data import TEDData
    >>> from ted_keras.data import make_source
    >>> source = make_source((np.arange(5.0), np.arange(5)))
    >>> data = TEDData(source, batch_size=2)
    >>> data.begin(np.array([4, 0, 2]), np.ones(3, np.float32))
    >>> int(data.num_batches), data[1][0].tolist()
    (2, [4.0, 0.0])
    """

    def __init__(
        self,
        source: Source,
        *,
        batch_size: int,
        on_read: Callable[[], None] = lambda: None,
        on_idle_epoch: Callable[[], None] = lambda: None,
        **options: Unpack[WorkerOptions],
    ) -> None:
        check_workers(**options)
        super().__init__(**options)
        self.source, self.batch_size = source, batch_size
        self._on_read, self._on_idle_epoch = on_read, on_idle_epoch
        self._length = np.zeros((), np.int64)
        self._epoch = _Epoch(np.zeros(0, np.int64), np.zeros((0, 3), np.float32))
        self._lock = threading.Lock()
        self._armed = self._ended = False
        # Batches that come in the order they were asked for undo Keras' shuffle
        # of them; workers ask in no order, and processes do not see each other.
        self.in_turn = self.workers <= 1 and not self.use_multiprocessing

    def begin(self, order: Ids, scale: NDArray[np.float32]) -> None:
        """Take the ids of an epoch.

        Parameters
        ----------
        order : ndarray of int, shape (k,)
            Ids to visit, in order.
        scale : ndarray of float32, shape (k,)
            Factor of each one's loss.
        """
        self._epoch = _Epoch(order.astype(np.int64), pack(order, scale))
        self._length[...] = -(-order.size // self.batch_size)

    def arm(self) -> None:
        """Expect the next epoch: a callback has planned it."""
        self._armed = True

    def shorten(self) -> None:
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
        """Return a batch of the current epoch.

        Parameters
        ----------
        index : int
            Which one.

        Returns
        -------
        x, y : nested structures of ndarray, shapes (B, ...)
            Inputs and targets.
        slot : dict of str to ndarray
            What TED needs in the step.

        Raises
        ------
        IndexError
            The epoch has no such batch.
        """
        epoch = self._epoch
        steps = -(-epoch.order.size // self.batch_size)
        if not 0 <= index < steps:
            msg = f"`index` must be in [0, {steps}), got {index}"
            raise IndexError(msg)
        place = self._place(epoch, int(index))
        part = slice(place * self.batch_size, (place + 1) * self.batch_size)
        x, y, weights = self.source(epoch.order[part])
        return x, y, add_weights(epoch.rows[part], weights)

    def _place(self, epoch: _Epoch, index: int) -> int:
        if not self.in_turn:
            return index
        with self._lock:
            return epoch.places.setdefault(index, len(epoch.places))

    def on_epoch_begin(self) -> None:
        """Refuse an epoch that no callback has planned."""
        armed, self._armed = self._armed, False
        if not armed and self._ended:
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
