"""Ids as one more column of a batch."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from torch import Tensor

from ted_torch.data import CollateWithIds

__all__ = ["IDS", "IdColumn", "take_apart"]

IDS = "ted_ids"
"""The column's name."""


class IdColumn:
    """Collate the items of ``(id, item)`` pairs to a batch with a column of ids.

    Parameters
    ----------
    collate : callable
        From a list of items to a mapping of columns.

    Notes
    -----
    Picklable where `collate` is, as workers that are spawned need it.

    Examples
    --------
    >>> import torch
    >>> from torch.utils.data import default_collate
    >>> from ted_torch.integrations.transformers.batches import IdColumn
    >>> IdColumn(default_collate)([(7, {"x": 1}), (3, {"x": 2})])
    {'x': tensor([1, 2]), 'ted_ids': tensor([7, 3])}
    """

    def __init__(self, collate: Callable[[list[Any]], Any]) -> None:
        self._collate = CollateWithIds(collate)

    def __call__(self, pairs: Sequence[tuple[int, Any]]) -> dict[str, Any]:
        """Return the columns, and int64 ids of shape (B,)."""
        ids, batch = self._collate(pairs)
        if not isinstance(batch, Mapping) or IDS in batch:
            msg = (
                f"`data_collator` must give a mapping of columns without {IDS!r}, got "
                f"{type(batch).__name__}"
            )
            raise TypeError(msg)
        return {**batch, IDS: ids}


def take_apart(
    columns: Mapping[str, Any], names: Sequence[str], *, keep: bool
) -> tuple[Tensor, dict[str, Any], dict[str, Any]]:
    """Return ids and labels of a batch, and the columns that the model is given.

    Parameters
    ----------
    columns : mapping of str to any
        What :class:`IdColumn` made.
    names : sequence of str
        Columns of labels that the model knows.
    keep : bool
        Whether the model is given the labels, too.

    Returns
    -------
    ids : Tensor of int64, shape (B,)
        Sample ids.
    labels, columns : dict of str to Tensor
        First axis B.

    Raises
    ------
    ValueError
        A column is missing, or a row of the batch is not one sample.
    """
    labels = {name: columns[name] for name in names if name in columns}
    if IDS not in columns or not labels:
        missing = " or ".join(names) if IDS in columns else IDS
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
    left = {IDS} if keep else {IDS, *labels}
    return ids, labels, {k: v for k, v in columns.items() if k not in left}
