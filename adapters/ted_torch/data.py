"""Data set, sampler and collate function: every sample travels with its id."""

from __future__ import annotations

import copy
import operator
import zlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, Generic, TypeVar, overload

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import (
    ConcatDataset,
    DataLoader,
    Dataset,
    Sampler,
    StackDataset,
    Subset,
    get_worker_info,
)

from ted_core import CheckpointError, EpochError, EpochPlan, Pruner
from ted_core._validation import check_kind
from ted_core.selection.sharded import repeat_order
from ted_core.typing import Ids
from ted_torch._row_order import drops_missing, follow_items, reader_sorts, sorts_items
from ted_torch._validation import count_items
from ted_torch.ranks import Ranks, share_of

__all__ = ["CollateWithIds", "TEDSampler", "WithIds"]

_CHUNK = 1 << 16
_LOADER_OPTIONS = (
    *("batch_size", "num_workers", "pin_memory", "drop_last", "timeout"),
    *("worker_init_fn", "multiprocessing_context", "generator"),
    *("prefetch_factor", "persistent_workers"),
)


class TEDSampler(Sampler[int]):
    """Visit the current epoch's kept ids; iterating changes no epoch.

    Parameters
    ----------
    pruner : Pruner
        Run whose plan is followed; moving its epoch is someone else's task.
    ranks : Ranks, optional
        Processes that share the order; by default this one visits all of it.

    Attributes
    ----------
    start : int
        How many ids of this process's share new iterators pass over, 0 but for an
        epoch resumed in the middle.
    passes : int
        How many iterators have given out all their ids since this was last set to 0.
    asked : int
        How many iterators were made.

    Raises
    ------
    TypeError
        An argument is of another kind.

    Notes
    -----
    Two iterators over one epoch give the same order, and ``len`` is that of the
    current epoch. No list of all ids is made.

    Examples
    --------
    >>> from ted_core import Pruner
    >>> from ted_torch import TEDSampler
    >>> sampler = TEDSampler(Pruner(10, epochs=5, prune_ratio=0.5))
    >>> len(sampler), list(sampler) == list(sampler)
    (10, True)
    """

    def __init__(self, pruner: Pruner, *, ranks: Ranks | None = None) -> None:
        self.pruner = pruner
        self.ranks = Ranks() if ranks is None else ranks
        check_kind("pruner", pruner, Pruner)
        check_kind("ranks", self.ranks, Ranks)
        self.start = self.passes = self.asked = 0

    def set_epoch(self, epoch: int) -> None:
        """Do nothing where a framework calls it: the session moves the epoch."""

    @property
    def share(self) -> int:
        """Ids of this process's share of the epoch, those passed over included."""
        return -(-self._plan().visited // self.ranks.num_replicas)

    def __len__(self) -> int:
        """Count the ids that an iterator made now would give."""
        return max(self.share - self.start, 0)

    def __iter__(self) -> Iterator[int]:
        """Return an iterator over the rest of this process's share of the order."""
        self.asked += 1
        return _Visit(self)

    def ids(self) -> Ids:
        """Return the ids of this process's share, in order.

        Returns
        -------
        ndarray of int32 or int64
            Those passed over included.
        """
        plan = self._plan()
        return share_of(repeat_order(plan.order, plan.visited, plan.n), self.ranks)

    def _plan(self) -> EpochPlan:
        """Return the plan; one that all processes make together is not made here."""
        if self.pruner.finished:
            msg = (
                "`sampler` must be asked in an epoch, got a run that has ended at "
                f"{self.pruner.epoch}: `len(loader)` is the open epoch's, so count "
                "the batches as they come; more epochs need a run that loads this "
                'one\'s state with `allow=("epochs",)`'
            )
            raise EpochError(msg)
        if self.pruner.config.shard is not None and not self.pruner.planned:
            msg = (
                "`sampler` must be asked once the epoch's samples are chosen, got no "
                "plan of a shard; call `set_epoch` on every process first"
            )
            raise EpochError(msg)
        return self.pruner.plan()


class _Visit(Iterator[int]):
    """One pass over a share; loaders that save their position ask it for one."""

    def __init__(self, sampler: TEDSampler) -> None:
        self._sampler, self._epoch = sampler, sampler.pruner.epoch
        self._position, self._order = sampler.start, sampler.ids()
        self._ids = self._rest()

    def __iter__(self) -> Iterator[int]:  # noqa: PYI034 - a call less for each id
        """Return what gives the ids, whose position stays this one's."""
        return self._ids

    def __next__(self) -> int:
        """Return the next id."""
        return next(self._ids)

    def _rest(self) -> Iterator[int]:
        """Yield the ids from the position on; no list of all ids is made."""
        for start in range(self._position, self._order.size, _CHUNK):
            for number in self._order[start : start + _CHUNK].tolist():
                self._position += 1
                yield number
        self._sampler.passes += 1

    def state_dict(self) -> dict[str, int]:
        """Return the epoch and the position in this process's share of it."""
        # Saved loaders have this word.
        return {"epoch": self._epoch, "place": self._position}

    def load_state_dict(self, state: Mapping[str, int]) -> None:
        """Go to a saved position: of the share, whatever the session passes over."""
        epoch, position = state["epoch"], state["place"]
        # A loader that saves only now and then hands out again what came since.
        if epoch != self._epoch or position > self._sampler.start:
            msg = (
                f"the loader's state must be the session's, of epoch {self._epoch} and "
                f"place {self._sampler.start}, got epoch {epoch} and place {position}; "
                "load the session's state that was saved beside it, and first"
            )
            raise CheckpointError(msg)
        self._position, self._ids = position, self._rest()


Item = TypeVar("Item", covariant=True)  # noqa: PLC0105 - the item is only read


class WithIds(Dataset[tuple[int, Item]], Generic[Item]):
    """Wrap a map-style data set: item k becomes ``(k, item)``, or holds k itself.

    The id travels inside the batch, so that neither workers nor a look-ahead can part
    it from its item, whatever the item is.

    Parameters
    ----------
    dataset : torch.utils.data.Dataset
        Data set with a length; its items are handed out unchanged.
    ids : str, int or sequence of them, optional
        Where in an item its id goes, for what takes no pairs: a key of items that are
        mappings, a position of tuples or lists, or the way to one inside of another.
        By default beside the item.

    Attributes
    ----------
    id_path : tuple of str and int
        `ids` as a way of keys and positions; empty for ids beside the items.

    Raises
    ------
    TypeError, ValueError
        `dataset` is an ``IterableDataset``, has no length or is empty; `ids` is no key.
        In a call: a reader of several samples sorts them; an item has no place for its
        id, or something else there.

    Notes
    -----
    No sample is copied; with `ids`, the containers on the way are. A data set that
    reads batches, by ``__getitems__`` or from a list of ids, must give sample j of the
    list as row j: with the first batch, up to four samples are read in two orders.

    ``set_epoch`` is handed on, other attributes are read from the data set. To set one,
    go to the data set: ``ted.dataset.dataset.transform = f``.

    Examples
    --------
    >>> from ted_torch import WithIds
    >>> WithIds(["a", "b"])[1]
    (1, 'b')
    >>> WithIds([{"x": 0.5}, {"x": 1.5}], ids="id")[1]
    {'x': 1.5, 'id': 1}
    >>> WithIds([(0.5, {"box": 3})], ids=(1, "id"))[0]
    (0.5, {'box': 3, 'id': 0})
    """

    id_path: tuple[str | int, ...] = ()
    # Whether a reader of several samples was seen to keep their order.
    _reader_checked = False
    # The epoch, where workers that live on find it, and the one that this copy is at.
    _shared_epoch: Tensor | None = None
    _epoch = -1

    def __init__(
        self,
        dataset: Dataset[Item] | Sequence[Item],
        *,
        ids: str | int | Sequence[str | int] | None = None,
    ) -> None:
        if count_items(dataset) == 0:
            msg = "`dataset` must hold at least one sample, got none"
            raise ValueError(msg)
        self.id_path = _check_path(ids)
        self.dataset = dataset

    def __len__(self) -> int:
        """Count the samples."""
        return count_items(self.dataset)

    @overload
    def __getitem__(self, index: int) -> tuple[int, Item]: ...
    @overload
    def __getitem__(self, index: Sequence[int]) -> tuple[Tensor, Any]: ...
    def __getitem__(self, index: Any) -> Any:
        """Return the id, counted from 0 also for a negative index, and the item.

        Of a list, the ids, int64 of shape (B,), and what the data set makes of it. With
        `ids`, the item or the batch that holds them.
        """
        self._follow_epoch()
        if isinstance(index, list | tuple):
            dataset: Any = self.dataset
            numbers, batch = self._read(dataset.__getitem__, index)
            return self._join(torch.tensor(numbers, dtype=torch.int64), batch)
        asked = operator.index(index)
        (number,) = self._ids([asked])
        return self._join(number, self.dataset[asked])

    def __getitems__(self, indices: Sequence[int]) -> list[tuple[int, Item]]:
        """Return a batch of ids and items, in one call where the data set can."""
        self._follow_epoch()
        dataset = self.dataset
        fetch = getattr(dataset, "__getitems__", None)
        items: Any
        if fetch is not None:
            numbers, items = self._read(fetch, indices)
            if len(items) != len(numbers):
                msg = (
                    f"`__getitems__` of the data set must give {len(numbers)} items "
                    f"for as many indices, got {len(items)}; leave broken samples out "
                    "in the collate function"
                )
                raise ValueError(msg)
        elif type(self).__getitem__ is WithIds.__getitem__:
            # In one pass: a call of this class for each item would cost more.
            numbers = list(map(operator.index, indices))
            items = [dataset[number] for number in numbers]
            numbers = self._ids(numbers)
        else:
            return [self[index] for index in indices]
        if self.id_path:
            return list(map(self._join, numbers, items))
        return list(zip(numbers, items, strict=True))

    def _read(
        self, read: Callable[[list[int]], Any], indices: Sequence[int]
    ) -> tuple[list[int], Any]:
        """Return ids and what a reader of several samples gives for them."""
        numbers = list(map(operator.index, indices))
        if not self._reader_checked and len(numbers) > 1:
            self._reader_checked = True
            if _is_first_worker() and reader_sorts(read, numbers):
                msg = (
                    f"`dataset` must give samples in the order asked for, got "
                    f"{type(self.dataset).__name__}, which gives two of them in the "
                    "same order either way; put what is read sorted back in order, "
                    "`rows[np.argsort(order)]`"
                )
                raise ValueError(msg)
        # A reader that sorts this list has sorted the ids as well.
        batch = read(numbers)
        return self._ids(numbers), batch

    def _join(self, number: Any, item: Any) -> Any:
        """Return an item, or a batch, with its id inside or beside."""
        if not self.id_path:
            return number, item
        # None is a broken file, for the collate function to leave out.
        return item if item is None else _put_id(item, self.id_path, number)

    def _ids(self, numbers: list[int]) -> list[int]:
        """Return ids of indices, of which negative ones count from the end."""
        if min(numbers, default=0) >= 0:
            return numbers
        n = len(self)
        return [number + n if number < 0 else number for number in numbers]

    def set_epoch(self, epoch: int) -> None:
        """Give the epoch to the data set, in subsets and concatenations too.

        The copies that workers have of it follow with their next batch.
        """
        if not _set_epoch(self.dataset, epoch):
            return
        if self._shared_epoch is None:
            self._shared_epoch = torch.tensor(epoch)
        self._epoch = epoch
        # A pickled copy has memory of its own.
        self._shared_epoch.share_memory_()  # type: ignore[no-untyped-call]
        self._shared_epoch.fill_(epoch)

    def _follow_epoch(self) -> None:
        """Give a worker's copy of the data set the epoch of the process it serves."""
        if self._shared_epoch is None or get_worker_info() is None:
            return
        epoch = int(self._shared_epoch)
        if epoch != self._epoch:
            self._epoch = epoch
            _set_epoch(self.dataset, epoch)

    def __getattr__(self, name: str) -> Any:
        """Read what the wrapper does not have from the data set."""
        # Copies and pickles ask before there is a data set.
        if name == "dataset" or _is_dunder(name):
            msg = f"{type(self).__name__!r} object has no attribute {name!r}"
            raise AttributeError(msg)
        return getattr(self.dataset, name)

    def __setattr__(self, name: str, value: Any) -> None:
        """Refuse to set what the data set would never read."""
        if name != "dataset" and not _is_dunder(name) and not hasattr(type(self), name):
            path = "dataset"
            there: Any = self.__dict__.get("dataset")
            while not hasattr(there, name) and hasattr(there, "dataset"):
                path, there = path + ".dataset", there.dataset
            msg = (
                f"`{name}` must be set on the data set, got it for the wrapper that "
                f"adds the ids, where nothing reads it; write `ted.dataset.{path}."
                f"{name} = ...`"
            )
            raise AttributeError(msg)
        super().__setattr__(name, value)


def _check_path(ids: Any) -> tuple[str | int, ...]:
    """Return the way of keys and positions to where an item's id goes."""
    if ids is None:
        return ()
    path = tuple(ids) if isinstance(ids, list | tuple) else (ids,)
    for key in path:
        name = isinstance(key, str)
        if not (name or (type(key) is int and key >= 0)):
            msg = (
                "`ids` must be a key, a position from 0 on, or a sequence of them, got "
                f"{ids!r}"
            )
            raise ValueError(msg)
    return path


def _put_id(item: Any, path: Sequence[str | int], number: Any) -> Any:
    """Return a copy of an item, or of a batch, whose id is at the end of a path."""
    key, rest = path[0], path[1:]
    keyed = isinstance(item, Mapping)
    if keyed:
        found = item.get(key)
    elif type(item) in {tuple, list} and isinstance(key, int) and key <= len(item):
        found = item[key] if key < len(item) else None
    else:
        kind = type(item).__name__
        if isinstance(item, Sequence):
            kind += f" of {len(item)}"
        msg = (
            "`ids` must lead through mappings, tuples and lists to a key or a position "
            f"of the last, got {key!r} for a {kind}; without `ids=` batches are "
            "`(ids, items)`"
        )
        raise TypeError(msg)
    if rest:
        number = _put_id(found, rest, number)
    elif found is not None:
        if found == number if type(found) is int else np.array_equal(found, number):
            return item
        msg = (
            f"`ids` must lead to nothing yet or to the sample's own id, which is its "
            f"position {number} in the data set, got {found!r} at {key!r}; take "
            "another key"
        )
        raise ValueError(msg)
    if keyed:
        out: Any = copy.copy(item)
        out[key] = number
        return out
    at = int(key)
    return type(item)([*item[:at], number, *item[at + 1 :]])


def find_ids(batch: Any, path: Sequence[str | int]) -> Any:
    """Return what a batch has where its items had their ids; None without."""
    for depth, key in enumerate(path):
        if isinstance(key, str) and isinstance(batch, list | tuple):
            # Targets that the collate function left in a list.
            found = [find_ids(one, path[depth:]) for one in batch]
            number = all(isinstance(one, int | Tensor) for one in found)
            return torch.tensor(found) if number else None
        try:
            batch = batch[key]
        except (LookupError, TypeError):
            return None
    return batch


def _is_dunder(name: str) -> bool:
    return name.startswith("__") and name.endswith("__")


def _is_first_worker() -> bool:
    """Tell whether this is the loader's own process or its first worker."""
    worker = get_worker_info()
    return worker is None or worker.id == 0


def _set_epoch(dataset: Any, epoch: int) -> bool:
    """Give a data set the epoch, or those that it is made of; tell whether one took."""
    if callable(own := getattr(dataset, "set_epoch", None)):
        own(epoch)
        return True
    took = [_set_epoch(part, epoch) for part in _parts(dataset)]
    return any(took)


def _parts(dataset: Any) -> list[Any]:
    """Return the data sets that PyTorch's own wrappers are made of."""
    if isinstance(dataset, Subset):
        return [dataset.dataset]
    if isinstance(dataset, ConcatDataset | StackDataset):
        parts: Any = dataset.datasets
        return list(parts.values() if isinstance(parts, Mapping) else parts)
    return []


def fingerprint_of(dataset: Any, given: int | str | None = None) -> int | str | None:
    """Return the fingerprint given, or one of all subsets' indices; None without."""
    if isinstance(given, bool) or not isinstance(given, int | str | None):
        msg = f"`fingerprint` must be an int or a str, got {type(given).__name__}"
        raise TypeError(msg)
    return _indices_checksum(dataset) if given is None else given


def _indices_checksum(dataset: Any) -> int | None:
    """Return the CRC-32 of all subsets' indices; None without a subset."""
    found = [_indices_checksum(part) for part in _parts(dataset)]
    if isinstance(dataset, Subset):
        try:
            chosen = np.asarray(dataset.indices, dtype=np.int64).tobytes()
        except (TypeError, ValueError):  # keys of another kind
            chosen = repr(list(dataset.indices)).encode()
        return zlib.crc32(chosen, found[0] or 0)
    if all(one is None for one in found):
        return None
    return zlib.crc32(repr(found).encode())


def options_of(loader: DataLoader[Any]) -> dict[str, Any]:
    """Return what a loader was made with, but for data, sampler and collation."""
    return {name: getattr(loader, name) for name in _LOADER_OPTIONS}


def _is_pair(pair: Any) -> bool:
    """Tell whether something is an id and an item."""
    two = isinstance(pair, tuple | list) and len(pair) == 2  # noqa: PLR2004
    return two and isinstance(pair[0], int | np.integer)


ItemIn = TypeVar("ItemIn", contravariant=True)  # noqa: PLC0105 - items are only given in
Batch = TypeVar("Batch", covariant=True)  # noqa: PLC0105 - batches only come out


class CollateWithIds(Generic[ItemIn, Batch]):
    """Collate the items of ``(id, item)`` pairs and hand their ids out beside.

    Parameters
    ----------
    collate : callable
        From a list of items to a batch, such as a tokenizer's padding collator.

    Raises
    ------
    TypeError, ValueError
        `collate` can't be called. In a call: it gives the same batch for its items in
        another order, or puts items in its list that it was not given.

    Notes
    -----
    Row j of the batch must be item j. `collate` may sort or shorten the very list that
    it is given: the ids follow. One that sorts in a list of its own is found with the
    first batch, or the 4th, 16th, 64th ... if the first has nothing to sort, by up to
    24 calls on copies of up to 16 items, in the loader's first worker. Picklable where
    `collate` is.

    Examples
    --------
    >>> from ted_torch import CollateWithIds
    >>> CollateWithIds(tuple)([(7, 1.0), (3, 2.0)])
    (tensor([7, 3]), (1.0, 2.0))
    """

    def __init__(self, collate: Callable[[list[ItemIn]], Batch]) -> None:
        if not callable(collate):
            msg = f"`collate` must be a function of a list of items, got {collate!r}"
            raise TypeError(msg)
        self.collate = collate
        self._batches, self._next_check = 0, 1
        self._missing_checked = False

    def __call__(self, pairs: Sequence[tuple[int, ItemIn]]) -> tuple[Tensor, Batch]:
        """Return the ids, int64 of shape (B,), and the batch."""
        for pair in pairs[:1]:
            if not _is_pair(pair):
                msg = (
                    "`collate` must be given pairs `(id, item)`, got a "
                    f"{type(pair).__name__}; where `ids=` puts the ids into the items, "
                    "give the loader the function without `ted.collate`"
                )
                raise TypeError(msg)
        ids, items = [k for k, _ in pairs], [item for _, item in pairs]
        self._check_order(items)
        left = list(items)
        batch = self.collate(left)
        ids = [ids[row] for row in follow_items(items, left)]
        return torch.tensor(ids, dtype=torch.int64), batch

    def _check_order(self, items: list[ItemIn]) -> None:
        """Refuse a function that puts its items in an order of its own."""
        found = ""
        self._batches += 1
        if self._batches >= self._next_check and len(items) > 1:
            # A batch whose items are in order already tells nothing: look again.
            self._next_check = 4 * self._batches
            # All workers have the same function.
            if _is_first_worker() and sorts_items(self.collate, items):
                found = "the same batch for two items in either order"
        if not self._missing_checked and any(item is None for item in items):
            self._missing_checked = True
            if drops_missing(self.collate, items):
                found = "one that leaves out items that are None in a list of its own"
        if found:
            msg = (
                f"`collate` must leave row j of a batch to item j, got {found}; sort "
                "or filter the very list that it is given, `items.sort(...)` or "
                "`items[:] = [...]`, and the ids follow"
            )
            raise ValueError(msg)
