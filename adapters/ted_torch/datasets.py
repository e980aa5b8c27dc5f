"""A data set that hands out each item with its id."""

from __future__ import annotations

import operator
from collections.abc import Sequence
from typing import Generic, TypeVar

from torch.utils.data import Dataset, IterableDataset

__all__ = ["WithIds", "count_items"]

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


def count_items(dataset: object) -> int:
    """Return how many items a map-style data set has, or refuse what has no length.

    Parameters
    ----------
    dataset : map-style data set
        The user's.

    Returns
    -------
    int
        Its length, 0 too.
    """
    if isinstance(dataset, IterableDataset) or not hasattr(dataset, "__len__"):
        msg = (
            "`dataset` must be a map-style data set with a length, got "
            f"{type(dataset).__name__}; samples without ids can't be pruned"
        )
        raise TypeError(msg)
    try:
        return len(dataset)
    except TypeError as error:
        msg = f"`dataset` must have a length, got {type(dataset).__name__}: {error}"
        raise TypeError(msg) from None
