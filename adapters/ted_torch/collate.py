"""Ids through a collate function of one's own."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Generic, TypeVar

import torch
from torch import Tensor

__all__ = ["CollateWithIds"]

Item = TypeVar("Item", contravariant=True)  # noqa: PLC0105 - items are only given in
Batch = TypeVar("Batch", covariant=True)  # noqa: PLC0105 - batches only come out


class CollateWithIds(Generic[Item, Batch]):
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

    def __init__(self, collate: Callable[[list[Item]], Batch]) -> None:
        if not callable(collate):
            msg = f"`collate` must be a function of a list of items, got {collate!r}"
            raise TypeError(msg)
        self.collate = collate

    def __call__(self, pairs: Sequence[tuple[int, Item]]) -> tuple[Tensor, Batch]:
        """Return the ids, int64 of shape (B,), and the batch."""
        ids = torch.tensor([sample for sample, _ in pairs], dtype=torch.int64)
        return ids, self.collate([item for _, item in pairs])
