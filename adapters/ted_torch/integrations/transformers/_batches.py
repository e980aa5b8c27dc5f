"""A batch: its ids as one more column, and what a model gives for it."""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from transformers.trainer_utils import RemoveColumnsCollator

from ted_torch.data import CollateWithIds
from ted_torch.segments import segment_losses, segment_mask

IDS = "ted_ids"
_ROWS = 2  # axes that tell rows and their tokens


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


def documents_of(dataset: Any) -> Tensor | None:
    """Count the texts that each row of a packed data set holds, if it tells."""
    name = "seq_lengths"
    if name not in (getattr(dataset, "column_names", None) or ()):
        return None
    return torch.from_numpy(np.fromiter(map(len, dataset[name]), np.int64))


class Watch:
    """Outputs and masks of a batch; rows may be parts of samples, or hold several."""

    def __init__(
        self, ids: Tensor, columns: Mapping[str, Any], documents: Tensor | None
    ) -> None:
        self.outputs: list[Any] = []
        self.masks: list[Tensor] = []
        self._ids, self._documents = ids, documents
        self._positions: Any = columns.get("position_ids")

    def fold(self, given: Mapping[str, Any]) -> tuple[dict[str, Any], Tensor]:
        """Return losses with one row a sample, and how many losses each has."""
        losses, valid, size = given["losses"], given.get("valid"), len(self._ids)
        if losses.ndim == 0 or losses.shape[0] == size:
            if valid is not None:
                return dict(given), valid.reshape(size, -1).sum(1).float()
            each = losses.numel() / max(size, 1)
            return dict(given), torch.full((size,), each, device=losses.device)
        segments = self._segments(losses)
        if valid is not None:
            segments = segments.where(valid, -1)
        kept = segments.where(segments >= 0, size).flatten()
        ones = torch.ones_like(kept, dtype=torch.float32)
        counts = ones.new_zeros(size + 1).index_add(0, kept, ones)[:size]
        means = segment_losses(losses, segments, size)
        return {**given, "losses": means, "valid": counts > 0}, counts

    def _segments(self, like: Tensor) -> Tensor:
        """Return the sample of each token of a batch whose rows are no samples."""
        rows, size, positions = like.shape[0], len(self._ids), self._positions
        found = None
        if like.ndim >= _ROWS and rows > size and rows % size == 0:
            # First texts of all samples, then the second ones, as of pairs.
            found = torch.arange(rows, device=like.device) % size
            return found[:, None].expand(like.shape[:2])
        if like.ndim >= _ROWS and positions is not None and len(positions) == rows:
            each, texts = torch.ones_like(self._ids), self._documents
            if texts is not None:
                each = texts.to(each.device)[self._ids]
            ends, text = each.cumsum(0), (positions.flatten() == 0).cumsum(0) - 1
            # On the CPU a look is free.
            if not text.is_cpu or int(text[-1]) + 1 >= int(ends[-1]):
                found = torch.searchsorted(ends, text, right=True)
        if found is None:
            msg = (
                f"each row of a batch must be one sample, got {rows} rows for {size} "
                "samples; pad the samples, or give `position_ids` that begin at 0 with "
                "each text"
            )
            raise ValueError(msg)
        segments: Tensor = found.where(found < size, -1).view(positions.shape)
        return segments[:, : like.shape[1]]

    def _mark(self, hidden: Tensor) -> Tensor | None:
        """Note the masks on a tensor; return what to go on with if it must change."""
        if hidden.shape[0] == len(self._ids):
            self.masks.append(hidden)
            return None
        rows, delta = segment_mask(hidden, self._segments(hidden), len(self._ids))
        self.masks.append(delta)
        return rows

    def _at_head(self, _: nn.Module, given: tuple[Any, ...]) -> Any:
        """Mark the input of a head over the vocabulary."""
        rows = self._mark(given[0])
        return None if rows is None else (rows, *given[1:])

    def _at(self, name: str) -> Any:
        """Return a hook that marks a part of a module's output."""

        def hook(_: nn.Module, __: Any, output: Any) -> Any:
            if not torch.is_grad_enabled() or not isinstance(output, Mapping):
                return None
            if isinstance(hidden := output.get(name), Tensor):
                rows = self._mark(hidden)
                if rows is not None:
                    output[name] = rows  # type: ignore[index]
            return output

        return hook

    def _note(self, _: nn.Module, __: Any, output: Any) -> None:
        """Note what a trained model returns."""
        if torch.is_grad_enabled():
            self.outputs.append(output)

    @contextmanager
    def on(self, model: nn.Module, net: Any, *, hosted: bool) -> Iterator[None]:
        """Watch a model for one step; without `net`, its inside, there are no masks."""
        # Where `hosted`, the trainer's own `compute_loss` calls it, perhaps past its
        # head: masks then stand at the last hidden state, or at the logits of a model
        # without words.
        unwrap = getattr(net, "get_base_model", None)
        net = unwrap() if unwrap else net
        embeddings = getattr(net, "get_output_embeddings", None)
        head, handles = embeddings() if embeddings else None, []
        if hosted and net is not None:
            core, name = net, "logits"
            if head is not None:
                core, name = net.base_model, "last_hidden_state"
            handles.append(core.register_forward_hook(self._at(name)))
        elif head is not None:
            handles.append(head.register_forward_pre_hook(self._at_head))
        if hosted:
            handles.append(model.register_forward_hook(self._note))
        try:
            yield
        finally:
            for handle in handles:
                handle.remove()
