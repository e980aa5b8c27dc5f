from __future__ import annotations

import pytest
import torch
from ted_torch import WithIds
from torch.utils.data import DataLoader, IterableDataset, Subset, TensorDataset


def test_ids_travel_with_every_item_through_workers():
    data = Subset(TensorDataset(torch.arange(20) * 10), list(range(19, -1, -1)))
    for workers, context in ((0, None), (1, "spawn")):
        loader = DataLoader(
            WithIds(data),
            batch_size=3,
            num_workers=workers,
            multiprocessing_context=context,
        )
        ids = torch.cat([i for i, _ in loader])
        items = torch.cat([item for _, (item,) in loader])
        assert ids.tolist() == list(range(20))
        assert items.tolist() == [10 * (19 - k) for k in range(20)]


def test_a_dictionary_stays_a_dictionary():
    ((ids, batch),) = DataLoader(WithIds([{"a": 1.0}, {"a": 2.0}]), batch_size=2)
    assert ids.tolist() == [0, 1]
    assert batch["a"].tolist() == [1.0, 2.0]


def test_streams_and_empty_data_are_refused_by_name():
    class Stream(IterableDataset):
        def __iter__(self):
            return iter([1])

    with pytest.raises(TypeError, match="`dataset` must be a map-style data set"):
        WithIds(Stream())
    with pytest.raises(ValueError, match="`dataset` must hold at least one sample"):
        WithIds([])
