"""A sampler that visits an epoch's kept samples in the plan's order."""

from __future__ import annotations

import operator
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Generic, TypeVar

import torch
from torch import Tensor
from torch.utils.data import Dataset, Sampler

from ted_core import CheckpointError, EpochError, EpochPlan, Pruner
from ted_core.selection.sharded import repeat_order
from ted_core.typing import Ids
from ted_torch._validation import count_items
from ted_torch.ranks import Ranks, share_of

__all__ = [
    "CollateWithIds",
    "TEDSampler",
    "WithIds",
]

_CHUNK = 1 << 16


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
        How many ids of this process's share are passed over, 0 but for an epoch
        resumed in the middle.
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
        given = (("pruner", pruner, Pruner), ("ranks", self.ranks, Ranks))
        for name, value, kind in given:
            if not isinstance(value, kind):
                msg = f"`{name}` must be {kind.__name__}, got {type(value).__name__}"
                raise TypeError(msg)
        self.asked = 0
        self.restart()

    def restart(self, start: int = 0) -> None:
        """Go to a position in the epoch.

        Parameters
        ----------
        start : int, default 0
            Ids to pass over.
        """
        self.start, self.passes = start, 0

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
        if self.pruner.config.shard is not None and not self.pruner.planned:
            msg = (
                "`sampler` must be asked once the epoch's samples are chosen, got no "
                "plan of a shard; call `set_epoch` on every rank first"
            )
            raise EpochError(msg)
        return self.pruner.plan()


class _Visit(Iterator[int]):
    """One pass over a share; loaders that save their position ask it for one."""

    def __init__(self, sampler: TEDSampler) -> None:
        self._sampler, self._epoch = sampler, sampler.pruner.epoch
        self._position, self._order = sampler.start, sampler.ids()
        self._ids = self._rest()

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
    """Wrap a map-style data set: item k becomes ``(k, item)``.

    The id travels inside the batch, so that neither workers nor a look-ahead can part
    it from its item, whatever the item is.

    Parameters
    ----------
    dataset : torch.utils.data.Dataset
        Data set with a length; its items are handed out unchanged.

    Raises
    ------
    TypeError
        `dataset` is an ``IterableDataset`` or has no length.
    ValueError
        `dataset` is empty.

    Notes
    -----
    Nothing is copied. A data set with ``__getitems__`` is asked for a whole batch.

    Examples
    --------
    >>> from ted_torch import WithIds
    >>> WithIds(["a", "b"])[1]
    (1, 'b')
    """

    def __init__(self, dataset: Dataset[Item] | Sequence[Item]) -> None:
        if count_items(dataset) == 0:
            msg = "`dataset` must hold at least one sample, got none"
            raise ValueError(msg)
        self.dataset = dataset

    def __len__(self) -> int:
        """Count the samples."""
        return count_items(self.dataset)

    def __getitem__(self, index: int) -> tuple[int, Item]:
        """Return the id, counted from 0 also for a negative index, and the item."""
        number = operator.index(index)
        return number + len(self) if number < 0 else number, self.dataset[number]

    def __getitems__(self, indices: Sequence[int]) -> list[tuple[int, Item]]:
        """Return a batch of ids and items, in one call where the data set can."""
        fetch = getattr(self.dataset, "__getitems__", None)
        items = fetch(indices) if fetch else [self.dataset[i] for i in indices]
        return list(zip(map(operator.index, indices), items, strict=True))


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
    TypeError
        `collate` can't be called.

    Notes
    -----
    Picklable where `collate` is, as workers that are spawned need it.

    Examples
    --------
    >>> from ted_torch import CollateWithIds
    >>> CollateWithIds(sum)([(7, 1.0), (3, 2.0)])
    (tensor([7, 3]), 3.0)
    """

    def __init__(self, collate: Callable[[list[ItemIn]], Batch]) -> None:
        if not callable(collate):
            msg = f"`collate` must be a function of a list of items, got {collate!r}"
            raise TypeError(msg)
        self.collate = collate

    def __call__(self, pairs: Sequence[tuple[int, ItemIn]]) -> tuple[Tensor, Batch]:
        """Return the ids, int64 of shape (B,), and the batch."""
        ids = torch.tensor([sample for sample, _ in pairs], dtype=torch.int64)
        return ids, self.collate([item for _, item in pairs])
