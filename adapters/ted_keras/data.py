"""What ``fit`` reads: the samples an epoch keeps, of arrays, a function, a pipeline."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import cached_property, partial
from typing import Any, TypeAlias

import keras
import numpy as np
from keras import tree
from numpy.typing import NDArray

from ted_core._validation import as_array, as_scores, check_bool, check_real
from ted_core.typing import Ids
from ted_keras._batch_columns import pack, pack_parts, sample_weights
from ted_keras._validation import check_count

__all__ = ["Pipeline", "TEDData"]

Fetch: TypeAlias = Callable[[NDArray[np.int64]], Any]
"""Takes ids, shape (B,), and gives ``(x, y)``, ``(x, y, weights)`` or, where they are
mixed, ``(x, y, weights, pairs)``, of B rows."""

_ARRAYS = (2, 3)  # (x, y), (x, y, weights)
_PARTS = (2, 3, 4)  # and (x, y, weights, pairs)
_NEAR = 1e-3  # how far from 1 the sum of a target's shares may be
_STREAMS = {"Dataset", "DataLoader", "IterableDataset", "PyDataset", "Sequence"}

Parts: TypeAlias = tuple[Any, Any, Any, NDArray[np.float32] | None]
"""Inputs, targets, weights and the columns of mixed parts, of as many rows each."""


class Pipeline:
    """A ``tf.data`` pipeline as data: one an epoch, from the ids that the epoch keeps.

    Parameters
    ----------
    load : callable
        Takes the id of a sample, an int64 tensor of shape (), and gives ``(x, y)`` or
        ``(x, y, weight)`` in TensorFlow's operations, as for ``Dataset.map``. A mixed
        sample comes as ``(x, y, weight or None, pairs)`` with a pair (id, weight) for
        each of its parts, its own first.
    batched : bool, default False
        Whether `load` takes the ids of a batch instead, shape (B,), and gives B rows:
        row j is sample ids[j].
    num_parallel_calls : int, optional
        Calls of `load` at a time; left to ``tf.data.AUTOTUNE`` by default.

    Raises
    ------
    TypeError, ValueError
        An argument is out of range.

    Notes
    -----
    ``ids.map(load).batch(batch_size).prefetch(2)``, or ``ids.batch(batch_size)`` before
    the map, in the planned order. A sample's place in it goes through the pipeline
    beside the sample. `load` is traced once. It needs TensorFlow, whatever the backend
    of Keras is.

    Examples
    --------
    >>> import keras, tensorflow as tf
    >>> from ted_keras import TED, Pipeline
    >>> x, y = tf.random.normal((40, 5)), tf.range(40) % 3
    >>> def load(k):
    ...     return tf.gather(x, k), tf.gather(y, k)
    >>> model = keras.Sequential([keras.Input((5,)), keras.layers.Dense(3)])
    >>> ted = TED(model, Pipeline(load), n=40, epochs=5, batch_size=8)
    >>> ted.data[0][0].shape
    (8, 5)
    """

    def __init__(
        self,
        load: Callable[[Any], tuple[Any, ...]],
        *,
        batched: bool = False,
        num_parallel_calls: int | None = None,
    ) -> None:
        if not callable(load):
            msg = f"`load` must be a function of an id, got {_type_name(load)}"
            raise TypeError(msg)
        if num_parallel_calls is not None:
            check_count("num_parallel_calls", num_parallel_calls)
        self._load, self._calls = load, num_parallel_calls
        self.batched = check_bool("batched", batched)

    def batches(self, order: Ids, batch_size: int) -> Iterator[tuple[Any, Ids]]:
        """Run over an epoch once.

        Parameters
        ----------
        order : ndarray of int64, shape (k,)
            Ids of the epoch.
        batch_size : int
            Samples of a batch.

        Yields
        ------
        tuple
            What `load` gave for a batch, in NumPy, and the places of its samples in
            `order`, int64 of shape (B,).
        """
        import tensorflow as tf  # noqa: PLC0415 - Keras runs without it

        calls = tf.data.AUTOTUNE if self._calls is None else self._calls
        rows = tf.data.Dataset.from_tensor_slices((order, np.arange(order.size)))
        how = {"num_parallel_calls": calls, "deterministic": True}
        if self.batched:
            rows = rows.batch(batch_size).map(self._element, **how)
        else:
            rows = rows.map(self._element, **how).batch(batch_size)
        yield from rows.prefetch(2).as_numpy_iterator()

    @cached_property
    def _element(self) -> Callable[[Any, Any], tuple[Any, Any]]:
        """What an element is made by; an epoch that traced `load` anew took longer."""
        import tensorflow as tf  # noqa: PLC0415

        load = tf.function(self._load)
        return lambda k, place: (_as_tuples(load(k)), place)


class Source:
    """Give ``(x, y, weights)`` of the samples asked for, as NumPy arrays."""

    def __init__(
        self, data: Parts | Fetch | Pipeline, n: int, classes: dict[int, float]
    ) -> None:
        self._data, self.n, self._classes = data, n, classes

    def __call__(self, ids: NDArray[np.int64]) -> Parts:
        """Return the rows of `ids`."""
        if isinstance(self._data, Pipeline):
            return next(self._run(self._data, ids, ids.size))[0]
        if not callable(self._data):
            take = partial(tree.map_structure, lambda leaf: leaf.take(ids, axis=0))
            x, y, weights, _ = self._data
            return take(x), take(y), None if weights is None else take(weights), None
        try:
            given = self._data(ids)
        except IndexError as error:
            error.add_note(
                f"`n`={self.n} must be the number of samples: `data(ids)` was asked "
                f"for ids up to {ids.max()}."
            )
            raise
        return self._check("data(ids)", given, ids)

    @property
    def by_pipeline(self) -> bool:
        """Whether batches are read ahead, by a pipeline over the whole epoch."""
        return isinstance(self._data, Pipeline)

    def stream(self, order: Ids, batch_size: int) -> Iterator[tuple[Parts, Ids]] | None:
        """Return a pipeline's batches, each with its places in `order`, or None."""
        if isinstance(self._data, Pipeline):
            return self._run(self._data, order, batch_size)
        return None

    def _run(
        self, pipeline: Pipeline, order: Ids, batch_size: int
    ) -> Iterator[tuple[Parts, Ids]]:
        name = "load(ids)" if pipeline.batched else "load(id)"
        for parts, places in pipeline.batches(order, batch_size):
            yield self._check(name, parts, order[places]), places

    def _check(self, name: str, parts: Any, ids: Ids) -> Parts:
        """Return what a user's function gave for `ids`, as NumPy."""
        if not isinstance(parts, tuple) or len(parts) not in _PARTS:
            got = _type_name(parts)
            msg = (
                f"`{name}` must be (x, y), (x, y, weights) or (x, y, weights, pairs), "
                f"got {got}"
            )
            raise TypeError(msg)
        *found, _ = _check_parts(name, parts[:3], self._classes, size=ids.size)
        pairs = parts[3] if len(parts) == _PARTS[-1] else None
        return *found, None if pairs is None else _check_pairs(pairs, ids, self.n)

    def misplaced(self, ids: NDArray[np.int64], batch: Parts) -> bool:
        """Return whether a function gives `batch` in another order than `ids` have."""
        # The ids are asked for once more, reversed: their rows must come reversed. Rows
        # that change with every call, as by augmentation, prove nothing.
        by_batch = getattr(self._data, "batched", callable(self._data))
        if not by_batch or ids.size < 2:  # noqa: PLR2004
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
    """Check what a user gave as data: arrays, a function of ids, or a pipeline."""
    classes = _check_class_weight(class_weight)
    if isinstance(data, tuple) and len(data) in _ARRAYS:
        parts = _check_parts("data", data, classes)
        size = len(tree.flatten(parts[0])[0])
        if n is not None and check_count("n", n) != size:
            msg = f"`n` must be the number of samples, {size}, got {n}"
            raise ValueError(msg)
        return Source(parts, size, classes)
    kinds = {kind.__name__ for kind in type(data).__mro__}
    if kinds & _STREAMS or not (callable(data) or isinstance(data, Pipeline)):
        msg = (
            f"`data` must be (x, y), (x, y, weights), a function of ids or a Pipeline, "
            f"got {_type_name(data)}; for tf.data say how a sample is read by its id: "
            "data=ted_keras.Pipeline(load), n=N; for a PyDataset give a function that "
            "reads samples by their ids, data=read, n=N"
        )
        raise TypeError(msg)
    if n is None:
        msg = "`n` must be given with a function or a Pipeline as `data`, got None"
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
    weights = parts[2] if len(parts) == _ARRAYS[1] else None
    if weights is not None:
        weights = _check_weights(weights, y, size)
    return x, y, _weigh_classes(y, weights, classes) if classes else weights, None


def _as_leaf(name: str, leaf: Any) -> NDArray[Any]:
    if not hasattr(leaf, "__array__") and not hasattr(leaf, "__dlpack__"):
        msg = f"`{name}` must hold arrays, got {_type_name(leaf)}"
        if isinstance(leaf, int | float):
            msg += " in a list; use np.asarray"
        raise TypeError(msg)
    array = as_array(name, leaf)
    if array.dtype.kind in "OSUT":
        msg = (
            f"`{name}` must hold numbers, got dtype {array.dtype}; give text as the "
            "numbers of its tokens"
        )
        raise TypeError(msg)
    return array


def _as_tuples(part: Any) -> Any:
    """Give lists as tuples: TensorFlow's data takes a list for one array."""
    if isinstance(part, dict):
        return {name: _as_tuples(inner) for name, inner in part.items()}
    if isinstance(part, list | tuple):
        return tuple(_as_tuples(inner) for inner in part)
    return part


def _check_weights(weights: Any, y: Any, size: int) -> Any:
    """Return weights as float32 (size, ...), one array or one for each target."""
    # Those of tokens or pixels must fit the losses, which the step knows.
    if tree.is_nested(weights):
        weights = _as_tuples(weights)
        try:
            tree.assert_same_structure(weights, y)
        except ValueError:
            got = tree.map_structure(lambda _: "*", weights)
            msg = f"`weights` must be one array, or one for each target, got {got}"
            raise TypeError(msg) from None
        return tree.map_structure(lambda one: _check_weights(one, one, size), weights)
    found = as_scores("weights", weights)
    if found.ndim == 0 or len(found) != size:
        msg = (
            f"`weights` must have shape ({size},), or that of the losses ({size}, "
            f"...), got shape {found.shape}"
        )
        raise ValueError(msg)
    return _check_not_negative("`weights`", found)


def _check_not_negative(
    label: str, weights: NDArray[np.float32]
) -> NDArray[np.float32]:
    if not ((weights >= 0) & (weights < np.inf)).all():
        msg = f"{label} must be finite and at least 0, got others"
        raise ValueError(msg)
    return weights


def _check_pairs(pairs: Any, ids: Ids, n: int) -> NDArray[np.float32]:
    """Return the columns of a mixed batch's parts, given as pairs (ids, weights)."""
    listed = isinstance(pairs, list | tuple) and len(pairs) > 0
    if not listed or any(not isinstance(p, list | tuple) or len(p) != 2 for p in pairs):  # noqa: PLR2004
        msg = f"`pairs` must be pairs (ids, weights), got {_type_name(pairs)}"
        raise TypeError(msg)
    parts = []
    for given, weights in pairs:
        part = as_array("ids of `pairs`", given)
        if part.dtype.kind not in "iu" or part.shape != ids.shape:
            msg = (
                f"the ids of `pairs` must be integers of shape {ids.shape}, got "
                f"{part.dtype} of shape {part.shape}"
            )
            raise ValueError(msg)
        if not ((part >= 0) & (part < n)).all():
            msg = f"the ids of `pairs` must be in [0, {n}), got others"
            raise ValueError(msg)
        share = np.asarray(as_scores("weights of `pairs`", weights))
        if share.shape not in {(), ids.shape}:
            msg = (
                f"the weights of `pairs` must have shape {ids.shape}, got {share.shape}"
            )
            raise ValueError(msg)
        share = _check_not_negative("the weights of `pairs`", share)
        parts.append((part, np.broadcast_to(share, ids.shape)))
    if not np.array_equal(parts[0][0], ids):
        msg = (
            "the first of `pairs` must be the ids that were asked for, in their order, "
            f"got {parts[0][0][:3]} for {ids[:3]}"
        )
        raise ValueError(msg)
    return pack_parts(parts)


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
    y: Any, weights: Any, table: dict[int, float]
) -> NDArray[np.float32]:
    """Return weights times that of each sample's class; 1 for one that is not named."""
    if tree.is_nested(y):
        msg = "`class_weight` must go with one output, got several targets"
        raise ValueError(msg)
    if y.dtype.kind not in "fiub":
        msg = f"`class_weight` must go with classes as numbers, got dtype {y.dtype}"
        raise TypeError(msg)
    by_row = y.ndim == 2 and y.shape[1] > 1  # noqa: PLR2004
    why = _no_distribution(y) if by_row else ""
    if why or not (by_row or y.size == len(y)):
        msg = (
            "`class_weight` must go with targets of shape (n,), (n, 1) or (n, C), the "
            "rows of these one-hot or smoothed: sum 1, one largest entry; got shape "
            f"{y.shape}{why}; give weights of the samples: (x, y, weights)"
        )
        raise ValueError(msg)
    if weights is not None and weights.ndim > 1:
        msg = f"`weights` must have shape ({len(y)},), got shape {weights.shape}"
        raise ValueError(msg)
    classes = y.argmax(axis=1) if by_row else np.rint(y).astype(np.int64).reshape(-1)
    known, index = np.unique(classes, return_inverse=True)
    factors = np.array([table.get(int(k), 1.0) for k in known], np.float32)[index]
    return factors if weights is None else weights * factors


def _no_distribution(y: NDArray[Any]) -> str:
    """Return what to say of a row that is no distribution with one largest entry."""
    # The last of the largest entries is the first only where there is one: no copy of
    # (n, C) is made, for which there may be no memory.
    last = y.shape[1] - 1 - y[:, ::-1].argmax(axis=1)
    sums = y.sum(axis=1, dtype=np.float64)
    near = (np.abs(sums - 1) <= _NEAR) & (y.min(axis=1) >= 0)
    wrong = np.flatnonzero(~near | (last != y.argmax(axis=1)))
    if not wrong.size:
        return ""
    row = wrong[0]
    return f" with row {row} of sum {sums[row]:.4g}, largest entry {y[row].max():.4g}"


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
    stream: Iterator[tuple[Parts, Ids]] | None = None  # a pipeline's, while it trains
    taken: int = 0  # the position of the batch that the stream gives next


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
        if source.by_pipeline and not self.keeps_order:
            msg = (
                "`workers` must be at most 1 and `use_multiprocessing` False with a "
                f"Pipeline, which reads ahead by itself, got {workers} and "
                f"{use_multiprocessing}; give Pipeline(load, num_parallel_calls=...)"
            )
            raise ValueError(msg)

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
        rows: Any = slice(position * self.batch_size, (position + 1) * self.batch_size)
        if epoch.stream is not None and position == epoch.taken:
            epoch.taken += 1
            (x, y, weights, parts), rows = next(epoch.stream)
        else:
            x, y, weights, parts = self.source(epoch.order[rows])
        return x, y, sample_weights(epoch.rows[rows], weights, parts)

    def on_epoch_begin(self) -> None:
        """Refuse an epoch that no callback has planned; start its pipeline."""
        planned, self.planned = self.planned, False
        if planned:
            epoch = self._epoch
            epoch.stream = self.source.stream(epoch.order, self.batch_size)
        elif self.session is not None and self._ended:
            self.session.raise_idle_epoch()

    def on_epoch_end(self) -> None:
        """Remember that an epoch, or the look before the first, is over."""
        self._ended, self._epoch.stream = True, None

    def _refresh(self) -> None:
        if self.stale and self.session is not None:
            self.session.show()

    def __getstate__(self) -> dict[str, Any]:
        """Leave model and lock out: another process needs the rows only."""
        return self.__dict__ | {"session": None, "_lock": None}

    def __setstate__(self, state: dict[str, Any]) -> None:
        """Take over what another process sent."""
        self.__dict__.update(state, _lock=threading.Lock())
