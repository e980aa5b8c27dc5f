"""Ids as one more column of a batch."""

from __future__ import annotations

import copy
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from torch import Tensor
from transformers.trainer_utils import RemoveColumnsCollator

from ted_torch.data import CollateWithIds

IDS = "ted_ids"


class IdColumn:
    """Collate ``(id, item)`` pairs to a mapping of columns with a column of ids."""

    # A class, for workers that are spawned need what can be pickled.
    def __init__(self, collate: Callable[[list[Any]], Any]) -> None:
        self._columns: Callable[[list[Any]], list[Any]] | None = None
        if isinstance(collate, RemoveColumnsCollator):
            # It makes new items, and ids follow the items that a collator sorts.
            columns = copy.copy(collate)
            columns.data_collator, collate = list, collate.data_collator
            self._columns = columns
        self._collate = CollateWithIds(collate)

    def __call__(self, pairs: Sequence[tuple[int, Any]]) -> dict[str, Any]:
        if self._columns is not None:
            items = self._columns([item for _, item in pairs])
            pairs = [(k, item) for (k, _), item in zip(pairs, items, strict=True)]
        ids, batch = self._collate(pairs)
        if not isinstance(batch, Mapping) or IDS in batch:
            msg = (
                f"`data_collator` must give a mapping of columns without {IDS!r}, got "
                f"{type(batch).__name__}"
            )
            raise TypeError(msg)
        return {**batch, IDS: ids}


def split_ids(columns: Mapping[str, Any]) -> tuple[Tensor, dict[str, Any]]:
    """Return a batch's ids, and its other columns."""
    if IDS not in columns:
        msg = (
            f"a training batch must have the column {IDS!r}, got {sorted(columns)}; "
            "train with the loader of `get_train_dataloader`"
        )
        raise ValueError(msg)
    return columns[IDS], {k: v for k, v in columns.items() if k != IDS}
