from __future__ import annotations

from typing import Any, NamedTuple

import pytest
import torch
import torch_items as items
from ted_torch import TED, TEDSampler, WithIds
from torch.utils.data import DataLoader, Dataset, IterableDataset, Subset
from workers import SERVER, WORKERS

import ted_core


class Point(NamedTuple):
    x: Any
    y: Any


class Batched(Dataset):
    """Answers single items and whole batches differently, to tell them apart."""

    def __init__(self):
        self.calls = 0

    def __len__(self):
        return 6

    def __getitem__(self, index):
        return 10 * index

    def __getitems__(self, indices):
        self.calls += 1
        return [10 * index for index in indices]


class Stream(IterableDataset):
    def __iter__(self):
        return iter(range(3))


class Endless(Dataset):
    def __getitem__(self, index):
        return index


@pytest.mark.parametrize(
    "item",
    [
        lambda k: torch.full((2,), k),
        lambda k: (torch.tensor(k), k),
        lambda k: {"x": torch.tensor(k), "name": str(k)},
        lambda k: Point(k, torch.tensor(k)),
    ],
    ids=["tensor", "tuple", "dict", "named tuple"],
)
def test_ids_travel_beside_any_item(item):
    items = [item(k) for k in range(5)]
    loader = DataLoader(WithIds(items), batch_size=2, sampler=[4, 0, 3])
    batches = list(loader)
    assert [ids.tolist() for ids, _ in batches] == [[4, 0], [3]]
    plain = DataLoader(items, batch_size=2, sampler=[4, 0, 3])
    for (_, ours), theirs in zip(batches, plain, strict=True):
        assert type(ours) is type(theirs)
        assert str(ours) == str(theirs)


def test_a_batched_data_set_is_asked_once_a_batch():
    data = Batched()
    loader = DataLoader(WithIds(data), batch_size=3, sampler=[5, 1, 2])
    for calls in (3, 4):  # with the first batch two pairs, to see whether it sorts
        ((ids, items),) = loader
        assert (ids.tolist(), items.tolist()) == ([5, 1, 2], [50, 10, 20])
        assert data.calls == calls


def test_the_ids_of_a_subset_are_its_own():
    subset = Subset(Batched(), [5, 3, 1])
    ((ids, items),) = DataLoader(WithIds(subset), batch_size=3)
    assert (ids.tolist(), items.tolist()) == ([0, 1, 2], [50, 30, 10])


def test_a_negative_index_gets_the_id_counted_from_the_front():
    assert WithIds(["a", "b", "c"])[-1] == (2, "c")


@pytest.mark.parametrize("data", [Stream(), Endless()])
def test_data_without_ids_or_length_is_refused_by_name(data):
    with pytest.raises(TypeError, match=f"`dataset` must be .* {type(data).__name__}"):
        TED(data, epochs=5)


def test_an_empty_data_set_is_refused():
    with pytest.raises(ValueError, match="`dataset` must hold at least one sample"):
        TED([], epochs=5)


def test_iterating_is_pure_and_peeking_never_advances():
    pruner = ted_core.Pruner(50, epochs=5, prune_ratio=0.5)
    sampler = TEDSampler(pruner)
    first, second = iter(sampler), iter(sampler)
    assert [next(first) for _ in range(3)] == [next(second) for _ in range(3)]
    assert list(sampler) == pruner.plan().order.tolist()
    assert pruner.epoch == 0
    assert all(type(k) is int for k in sampler)


def test_an_iterator_keeps_its_epoch_and_the_length_is_the_current_ones():
    pruner = ted_core.Pruner(50, epochs=6, prune_ratio=0.7)
    sampler = TEDSampler(pruner)
    old = iter(sampler)
    before = pruner.plan().order.tolist()
    for _ in range(2):
        pruner.observe(range(50), range(50))
        pruner.advance()
    assert list(old) == before
    assert len(sampler) == len(list(sampler)) == len(pruner.plan()) < 50


@pytest.mark.parametrize("persistent", [False, True])
def test_workers_deliver_the_plans_ids_in_every_epoch(
    data, train, make_net, persistent
):
    ted = TED(data, epochs=5, prune_ratio=0.6)
    loader = DataLoader(
        ted.dataset,
        batch_size=8,
        sampler=ted.sampler,
        persistent_workers=persistent,
        **WORKERS,
    )
    net = make_net()
    for epoch in range(3):
        ted.set_epoch(epoch)
        assert train(ted, net, loader) == ted.pruner.plan().order.tolist()


@pytest.mark.parametrize("start", [SERVER, "spawn"], ids=["server", "spawn"])
@pytest.mark.parametrize("inner", [False, True], ids=["outer", "in a subset"])
def test_the_data_set_of_workers_that_live_on_hears_of_every_epoch(start, inner):
    data = items.OfEpoch(40)
    ted = TED(Subset(data, range(40)) if inner else data, epochs=4, prune_ratio=0.0)
    loader = DataLoader(
        ted.dataset,
        batch_size=10,
        sampler=ted.sampler,
        num_workers=1,
        persistent_workers=True,
        multiprocessing_context=start,
    )
    losses, seen = torch.ones(10, requires_grad=True), []
    for epoch in range(3):
        ted.set_epoch(epoch)
        for ids, told in loader:
            ted.loss(losses, mask=losses, ids=ids).backward()
            seen.append(set(told.tolist()))
    assert seen == [{0}] * 4 + [{1}] * 4 + [{2}] * 4


def test_a_loader_has_no_length_after_the_last_epoch_and_says_so(data, train, make_net):
    ted = TED(data, epochs=2, prune_ratio=0.0)
    loader, net = DataLoader(ted.dataset, 8, sampler=ted.sampler), make_net()
    for epoch in range(2):
        ted.set_epoch(epoch)
        train(ted, net, loader)
    ted.finish()
    with pytest.raises(ted_core.EpochError, match="count the batches as they come"):
        len(loader)


def test_total_steps_is_the_number_of_batches_that_come(data, train, make_net):
    for drop_last in (False, True):
        ted = TED(data, epochs=6, prune_ratio=0.6)
        loader = DataLoader(
            ted.dataset, batch_size=7, sampler=ted.sampler, drop_last=drop_last
        )
        net, steps = make_net(), 0
        for epoch in range(6):
            ted.set_epoch(epoch)
            steps += len(loader)
            train(ted, net, loader)
        ted.finish()
        assert steps == ted.total_steps(7, drop_last=drop_last)
