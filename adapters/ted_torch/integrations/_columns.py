"""Ids as one more column of a batch."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from torch import Tensor

from ted_torch.collate import CollateWithIds

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
    >>> from ted_torch.integrations._columns import IdColumn
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
    columns: Mapping[str, Any], model: Any
) -> tuple[Tensor, Tensor, dict[str, Any]]:
    """Return ids and labels of a batch, and the columns that the model is given.

    Parameters
    ----------
    columns : mapping of str to any
        What :class:`IdColumn` made.
    model : transformers.PreTrainedModel
        Takes the labels only if its decoder's input is made of them.

    Returns
    -------
    ids, labels : Tensor
        First axis B.
    columns : dict of str to any
        The others.

    Raises
    ------
    ValueError
        A column is missing, or a row of the batch is not one sample.
    """
    for name in (IDS, "labels"):
        if name not in columns:
            msg = (
                f"a training batch must have the column {name!r}, got "
                f"{sorted(columns)}; train with the loader of `get_train_dataloader` "
                "and labels"
            )
            raise ValueError(msg)
    ids, labels = columns[IDS], columns["labels"]
    if len(ids) != len(labels):
        msg = (
            f"each row of a batch must be one sample, got {len(labels)} rows for "
            f"{len(ids)} samples; pad the samples, don't pack them"
        )
        raise ValueError(msg)
    decodes = getattr(getattr(model, "config", None), "is_encoder_decoder", False)
    left = {IDS} if decodes else {IDS, "labels"}
    return ids, labels, {k: v for k, v in columns.items() if k not in left}
