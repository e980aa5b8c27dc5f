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


def split_columns(
    columns: Mapping[str, Any], label_names: Sequence[str], *, keep_labels: bool
) -> tuple[Tensor, dict[str, Any], dict[str, Any]]:
    """Return a batch's ids, its labels, and the columns that the model is given."""
    labels = {name: columns[name] for name in label_names if name in columns}
    if IDS not in columns or not labels:
        missing = " or ".join(label_names) if IDS in columns else IDS
        msg = (
            f"a training batch must have the column {missing!r}, got "
            f"{sorted(columns)}; train with the loader of `get_train_dataloader`, on "
            "data with labels"
        )
        raise ValueError(msg)
    ids = columns[IDS]
    rows = {len(part) for part in labels.values()}
    if rows != {len(ids)}:
        msg = (
            f"each row of a batch must be one sample, got {max(rows)} rows for "
            f"{len(ids)} samples; pad the samples, don't pack them"
        )
        raise ValueError(msg)
    left_out = {IDS} if keep_labels else {IDS, *labels}
    return ids, labels, {k: v for k, v in columns.items() if k not in left_out}
