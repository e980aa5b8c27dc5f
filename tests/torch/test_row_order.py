"""Row j of a batch is item j: followed where it shows, refused where it does not."""

# The global generators are what is looked at.
# ruff: noqa: NPY002, S311

from __future__ import annotations

import random
from dataclasses import dataclass
from functools import partial

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from ted_torch import TED, CollateWithIds, WithIds
from torch import nn
from torch.nn.utils.rnn import pack_padded_sequence
from torch.utils.data import BatchSampler, DataLoader, Dataset, default_collate
from torch_items import Texts, by_length, padded
from workers import WORKERS

N = 24


def by_length_in_place(items):
    items.sort(key=lambda item: len(item[0]), reverse=True)
    x, lengths, own = padded(items)
    return pack_padded_sequence(x, lengths, batch_first=True), own


def without_broken(items):
    items[:] = [item for item in items if item is not None]
    return padded(items)


def refilled(items):
    """Fill the batch up with samples that it has, in a list of its own."""
    there = [item for item in items if item is not None]
    return padded(there + there[: len(items) - len(there)])


def refilled_in_place(items):
    size = len(items)
    items[:] = [item for item in items if item is not None]
    items += random.choices(items, k=size - len(items))
    return padded(items)


def load(data, collate, *, batch_size=8, **loading):
    ted = TED(data, epochs=5)
    ted.set_epoch(0)
    return DataLoader(
        ted.dataset,
        batch_size,
        sampler=ted.sampler,
        collate_fn=ted.collate(collate),
        **loading,
    )


@pytest.mark.parametrize("workers", [0, 2])
def test_a_collate_function_that_sorts_for_pack_padded_sequence_is_refused(workers):
    loading = WORKERS if workers else {}
    with pytest.raises(ValueError, match=r"row j of a batch to item j.*`items\.sort"):
        next(iter(load(Texts(N), by_length, **loading)))


def test_one_that_sorts_the_very_list_it_is_given_is_followed():
    for ids, (packed, own) in load(Texts(N), by_length_in_place):
        assert ids.tolist() == own
        assert packed.batch_sizes[0] == len(ids)


def test_a_broken_file_that_is_left_out_takes_its_id_along():
    broken = {3, 10, 11}
    found = []
    for ids, (_, _, own) in load(Texts(N, broken), without_broken):
        assert ids.tolist() == own
        found += own
    assert sorted(found) == sorted(set(range(N)) - broken)


def test_a_batch_that_is_filled_up_in_a_list_of_its_own_is_refused():
    # The first batches may well be whole.
    with pytest.raises(ValueError, match="leaves out items that are None"):
        list(load(Texts(N, {5}), refilled))


def test_a_batch_that_is_filled_up_in_place_repeats_the_ids():
    for ids, (_, _, own) in load(Texts(N, {3, 10, 11}), refilled_in_place):
        assert ids.tolist() == own


def test_a_batch_that_is_filled_up_with_samples_of_elsewhere_is_refused():
    def refill(items):
        items[:] = [item for item in items if item is not None]
        items += [Texts(N)[0]] * (8 - len(items))
        return padded(items)

    with pytest.raises(ValueError, match="`collate` must leave in its list items"):
        list(load(Texts(N, {5}), refill))


def test_scores_go_to_the_samples_that_earned_them():
    lengths = torch.tensor([1 + 7 * k % 5 for k in range(N)])

    def collate(items):
        items.sort(key=lambda item: len(item[0]))
        return padded(items)

    ted = TED(Texts(N), epochs=5, signal="loss")
    loader = DataLoader(
        ted.dataset, 8, sampler=ted.sampler, collate_fn=ted.collate(collate)
    )
    scale = nn.Parameter(torch.ones(()))
    ted.set_epoch(0)
    for ids, (_, sizes, _) in loader:
        ted.loss(scale * sizes.float(), ids=ids).backward()
    ted.set_epoch(1)
    np.testing.assert_array_equal(ted.pruner.scores, lengths.numpy())


@given(st.lists(st.integers(0, 9), max_size=12))
def test_whatever_items_are_left_in_the_list_their_ids_are_too(chosen):
    def collate(items):
        left = [items[k] for k in chosen]
        items[:] = left
        return [item[0] for item in left]

    pairs = [(100 + k, [k]) for k in range(10)]
    ids, own = CollateWithIds(collate)(pairs)
    assert ids.tolist() == [100 + k for k in own]


def noisy(items):
    x, lengths, own = padded(items)
    return x + torch.randn_like(x), lengths, own


def with_lists(items):
    return items, object()


def of_eight(items):
    if len(items) != 8:
        msg = "eight items"
        raise ValueError(msg)
    return padded(items)


def emptied(items):
    """Take what it needs out of its items, as collators of labels do."""
    return [item.pop("label") for item in items]


def placed(items):
    return torch.tensor([-1 if item is None else item[1] for item in items])


def mapped(items):
    for j, (_, k) in enumerate(items):
        items[j] = float(k)
    return torch.tensor(items)


@pytest.mark.parametrize(
    ("data", "collate"),
    [
        (Texts(N), padded),
        (Texts(N), noisy),
        (Texts(N), with_lists),
        (Texts(N), of_eight),
        (Texts(N), mapped),
        (Texts(N, {1, 5, 9}), placed),
        ([{"label": k} for k in range(N)], emptied),
        ([1.0] * N, default_collate),
        (list(range(N)), partial(map, float)),
    ],
    ids=[
        "in order",
        "of chance",
        "not to compare",
        "of one size",
        "in place",
        "placeholders",
        "emptied",
        "all alike",
        "an iterator",
    ],
)
def test_functions_that_follow_the_order_or_cannot_be_compared_pass(data, collate):
    ids = torch.cat([ids for ids, _ in load(data, collate)])
    assert sorted(ids.tolist()) == list(range(N))


def test_looking_for_a_sort_leaves_items_and_random_states_as_they_were():
    class Noise:
        def __init__(self):
            self.generator = np.random.default_rng(7)

        def __call__(self, items):
            labels = [item.pop("label") for item in items]
            own = self.generator.random()
            return labels, own, random.random(), np.random.random(), torch.rand(())

    def drawn(wrap):
        random.seed(1)
        np.random.seed(1)
        torch.manual_seed(1)
        collate, items = Noise(), [{"label": k} for k in range(4)]
        if wrap:
            return CollateWithIds(collate)(list(enumerate(items)))[1]
        return collate(items)

    assert drawn(wrap=True) == drawn(wrap=False)


def test_a_sort_that_moves_nothing_in_the_first_batch_is_found_in_a_later_one():
    texts = [(torch.full((1 + (k % 9 == 8),), float(k)), k) for k in range(8 * 9)]
    loader = DataLoader(
        WithIds(texts), 8, collate_fn=CollateWithIds(by_length), sampler=range(72)
    )
    batches = iter(loader)
    ids, (_, _, own) = next(batches)  # all of one length
    assert ids.tolist() == own
    with pytest.raises(ValueError, match="row j of a batch to item j"):
        list(batches)


@dataclass(slots=True)
class Sentence:
    length: int
    number: int


def test_a_sort_of_objects_without_a_dict_is_refused():
    def collate(items):
        items = sorted(items, key=lambda item: item.length)
        return items, [item.number for item in items]

    with pytest.raises(ValueError, match="row j of a batch to item j"):
        next(iter(load([Sentence(1 + 7 * k % 5, k) for k in range(N)], collate)))


def test_it_is_looked_for_in_the_first_batch_and_seldom_again():
    calls = []

    def collate(items):
        calls.append(len(items))
        return padded(items)

    pairs = [(k, Texts(N)[k]) for k in range(8)]
    wrapped = CollateWithIds(collate)
    looked = []
    for batch in range(1, 70):
        before = len(calls)
        wrapped(pairs)
        if len(calls) > before + 1:
            looked.append(batch)
    assert looked == [1, 4, 16, 64]


class Hdf5(Dataset):
    """A file whose rows can be read by ascending indices alone."""

    def __init__(self, order="lost"):
        self.rows, self.order = np.arange(N) * 10, order

    def __len__(self):
        return N

    def __getitems__(self, indices):
        if self.order == "in place":
            indices.sort()
            return list(self.rows[indices])
        back = np.argsort(np.argsort(indices))
        rows = self.rows[sorted(indices)]
        return list(rows[back] if self.order == "restored" else rows)

    def __getitem__(self, index):
        return np.array(self.__getitems__(index))


@pytest.mark.parametrize("as_list", [False, True], ids=["items", "batches"])
def test_a_reader_of_hdf5_that_sorts_the_indices_is_refused(as_list):
    with pytest.raises(ValueError, match="order asked for, got Hdf5"):
        next(iter(reading("lost", as_list)))


@pytest.mark.parametrize("as_list", [False, True], ids=["items", "batches"])
@pytest.mark.parametrize("order", ["restored", "in place"])
def test_a_reader_that_gives_the_order_back_or_sorts_the_list_is_served(order, as_list):
    for ids, rows in reading(order, as_list):
        assert (10 * ids).tolist() == rows.tolist()


def reading(order, as_list):
    ted = TED(Hdf5(order), epochs=5)
    ted.set_epoch(0)
    if not as_list:
        return DataLoader(ted.dataset, 8, sampler=ted.sampler)
    batches = BatchSampler(ted.sampler, 8, drop_last=False)
    return DataLoader(ted.dataset, batch_size=None, sampler=batches)


def test_a_reader_that_leaves_samples_out_is_refused_by_name():
    class Short(Hdf5):
        def __getitems__(self, indices):
            return list(indices)[1:]

    with pytest.raises(ValueError, match="`__getitems__` of the data set must give 3"):
        WithIds(Short()).__getitems__([1, 2, 3])


def test_a_list_of_indices_is_a_batch_that_the_data_set_makes():
    data = torch.utils.data.TensorDataset(torch.arange(N) * 10, torch.arange(N))
    ted = TED(data, epochs=5)
    loader = DataLoader(
        ted.dataset,
        batch_size=None,
        sampler=BatchSampler(ted.sampler, 7, drop_last=False),
    )
    ted.set_epoch(0)
    seen = []
    for ids, (x, y) in loader:
        assert ids.dtype == torch.int64
        assert ids.tolist() == y.tolist() == (x // 10).tolist()
        seen += ids.tolist()
    assert seen == ted.pruner.plan().order.tolist()


def test_a_collate_function_of_ones_own_without_ted_collate_is_named_at_the_loss():
    def pad(pairs):
        ids, items = zip(*pairs, strict=True)
        return ids, padded(items)

    ted = TED(Texts(N), epochs=5)
    loader = DataLoader(ted.dataset, 8, sampler=ted.sampler, collate_fn=pad)
    ted.set_epoch(0)
    ids, (x, lengths, _) = next(iter(loader))
    losses = (lengths.float() * nn.Parameter(torch.ones(8))).sum() + x.sum(1)
    for wrong in (ids, x[:, 0], torch.arange(3)):
        error = (TypeError, ValueError)
        with pytest.raises(error, match=r"`ids` must.*collate_fn=ted\.collate\(fn\)"):
            ted.loss(losses, mask=losses, ids=wrong)
