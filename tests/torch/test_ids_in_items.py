"""Items that hold their ids: the id goes where its item goes."""

from __future__ import annotations

import math
import random
from collections import OrderedDict
from typing import Any, NamedTuple

import lightning_runs
import numpy as np
import pytest
import torch
import torch_items
from accelerate import Accelerator
from hypothesis import given
from hypothesis import strategies as st
from ted_torch import TED, WithIds
from ted_torch.integrations.accelerate import AcceleratedTED
from ted_torch.integrations.torchdata import stateful_loader
from torch import nn
from torch.utils.data import BatchSampler, DataLoader, Dataset, TensorDataset
from torch_runs import CLASSES, FEATURES, cross_entropy, labelled
from workers import WORKERS

N = 24


def keyed(k):
    return {"x": torch.full((2,), float(k)), "name": str(k)}


@pytest.mark.parametrize(
    ("item", "ids", "read"),
    [
        (keyed, "id", lambda batch: batch["id"]),
        (lambda k: OrderedDict(keyed(k)), "id", lambda batch: batch["id"]),
        (lambda k: (float(k), k), 2, lambda batch: batch[2]),
        (lambda k: [float(k)], (1,), lambda batch: batch[1]),
        (lambda k: (k, {"box": k}), (1, "id"), lambda batch: batch[1]["id"]),
        (lambda k: {"x": (k, [k])}, ["x", 1, 1], lambda batch: batch["x"][1][1]),
        (lambda k: {"x": 1.0, "idx": k}, "idx", lambda batch: batch["idx"]),
        (lambda k: (torch.tensor(k), 1.0), 0, lambda batch: batch[0]),
    ],
    ids=["key", "kind", "tuple", "list", "target", "deep", "known", "known tensor"],
)
def test_an_id_stands_where_it_was_asked_for(item, ids, read):
    items = [item(k) for k in range(5)]
    before = str(items)
    loader = DataLoader(WithIds(items, ids=ids), batch_size=2, sampler=[4, 0, -2])
    batches = list(loader)
    assert [read(batch).tolist() for batch in batches] == [[4, 0], [3]]
    assert read(batches[0]).dtype == torch.int64
    assert str(items) == before
    assert type(WithIds(items, ids=ids)[1]) is type(items[1])


class Rows(Dataset):
    """Rows that are read in whole batches."""

    def __len__(self):
        return N

    def __getitem__(self, k):
        return {"x": torch.tensor(10 * (k % N))}

    def __getitems__(self, indices):
        return [self[k] for k in indices]


def columns(items):
    return {key: torch.stack([item[key] for item in items]) for key in items[0]}


@st.composite
def collates(draw):
    """Draw what a collate function does to a batch: which rows are left, and how."""
    seed, share = draw(st.integers(0, 2**16)), draw(st.floats(0.2, 1.0))
    in_place, sort = draw(st.booleans()), draw(st.booleans())

    def collate(items):
        rng = random.Random(seed)  # noqa: S311 - no secret
        left = rng.choices(
            items, k=math.ceil(share * len(items))
        )  # some more than once
        if sort:
            left = sorted(left, key=lambda item: -item["x"])
        if in_place:
            items[:] = left
        return {key: torch.tensor([int(item[key]) for item in left]) for key in left[0]}

    return collate


@given(
    collates(),
    st.lists(st.integers(-N, N - 1), min_size=1, max_size=30),
    st.sampled_from([Rows(), [{"x": 10 * k} for k in range(N)]]),
)
def test_whatever_a_collate_function_does_an_id_is_that_of_its_row(
    collate, order, data
):
    dataset = WithIds(data, ids="id")
    loader = DataLoader(dataset, 7, sampler=order, collate_fn=collate)
    whole = DataLoader(dataset, 7, sampler=order)
    assert torch.cat([batch["id"] for batch in whole]).tolist() == [
        k % N for k in order
    ]
    for batch, full in zip(loader, whole, strict=True):
        assert (batch["x"] == 10 * batch["id"]).all()
        assert set(batch["id"].tolist()) <= set(full["id"].tolist())


@given(st.lists(st.integers(-N, N - 1), min_size=1, max_size=30))
def test_pairs_made_by_the_batch_are_those_made_one_by_one(order):
    for data in (Rows(), [{"x": 10 * k} for k in range(N)]):
        for ids in (None, "id"):
            dataset = WithIds(data, ids=ids)
            made = dataset.__getitems__(order)
            assert str(made) == str([dataset[k] for k in order])


def test_a_wrapper_of_ones_own_is_asked_for_each_item_of_a_batch():
    class Mine(WithIds):
        def __getitem__(self, index):
            number, item = super().__getitem__(index)
            return number, item + 100

    ((ids, items),) = DataLoader(Mine(range(5)), batch_size=5)
    assert items.tolist() == [100 + k for k in ids.tolist()]


def test_a_batch_that_the_data_set_makes_of_a_list_gets_its_ids():
    data = TensorDataset(torch.arange(N) * 10)
    ted = TED(data, epochs=5, ids=1)
    batches = BatchSampler(ted.sampler, 7, drop_last=False)
    ted.set_epoch(0)
    seen = []
    for x, ids in DataLoader(ted.dataset, batch_size=None, sampler=batches):
        assert (x == 10 * ids).all()
        seen += ids.tolist()
    assert seen == ted.pruner.plan().order.tolist()


def test_a_broken_file_stays_none_for_the_collate_function():
    def collate(items):
        return columns([item for item in items if item is not None])

    data = [None if k == 3 else {"x": torch.tensor(k)} for k in range(8)]
    (batch,) = DataLoader(WithIds(data, ids="id"), 8, collate_fn=collate_ids(collate))
    assert batch["id"].tolist() == batch["x"].tolist() == [0, 1, 2, 4, 5, 6, 7]


def collate_ids(collate):
    """Make a collate function of tensors take ids, which are integers."""

    def with_tensors(items):
        return collate(
            [
                item and {k: torch.as_tensor(v) for k, v in item.items()}
                for item in items
            ]
        )

    return with_tensors


class Point(NamedTuple):
    x: float


@pytest.mark.parametrize(
    ("item", "ids"),
    [
        (torch.zeros(3), 2),
        (1.0, "id"),
        ((1.0, 2.0), "id"),
        ((1.0, 2.0), 3),
        ((1.0, None), (1, "id")),
        ({"x": 1.0}, ("target", "id")),
        (Point(1.0), 1),
        ("text", 4),
    ],
)
def test_an_item_without_a_place_for_its_id_is_refused(item, ids):
    with pytest.raises(TypeError, match=r"`ids` must lead .* without `ids=` batches"):
        WithIds([item], ids=ids)[0]


@pytest.mark.parametrize(
    "found", [7, "0001", torch.tensor(7), np.int64(7), [1], torch.tensor([1]), {}]
)
def test_what_stands_at_the_place_of_an_id_must_be_the_id(found):
    with pytest.raises(ValueError, match=r"sample's own id, .* position 1 .* at 'id'"):
        WithIds([{}, {"id": found}], ids="id")[1]


@pytest.mark.parametrize("ids", [-1, True, 1.5, ("x", -1), ["x", None], b"id"])
def test_a_place_that_is_no_key_is_refused(ids):
    with pytest.raises(ValueError, match="`ids` must be a key, a position"):
        TED([{}], epochs=5, ids=ids)


def session(ids="id", item=lambda k: {"x": float(k), "y": k % 3}):
    return TED([item(k) for k in range(96)], epochs=5, multiple_of=32, ids=ids)


def loader_of(ted, **loading):
    return DataLoader(ted.dataset, 32, sampler=ted.sampler, **loading)


def without_the_key(items):
    return {key: torch.tensor([item[key] for item in items]) for key in ("x", "y")}


def as_floats(items):
    return {key: torch.tensor([float(item[key]) for item in items]) for key in items[0]}


def of_others(items):
    return {"id": torch.tensor([1000 + item["id"] for item in items])}


def fails(items):
    return without_the_key([item["target"] for item in items])


@pytest.mark.parametrize(
    ("collate", "got"),
    [
        (without_the_key, "got a mapping of x, y"),
        (as_floats, r"got torch\.float32 of shape \(32,\)"),
        (of_others, "got 1[0-9]+, which is of no sample of it"),
        (fails, "got an error of its collate function: KeyError"),
    ],
)
def test_a_collate_function_that_loses_the_ids_is_named(collate, got):
    ted = session()
    with pytest.raises(ValueError, match=f"{got}.*`{collate.__name__}` keeps them"):
        ted.check(loader_of(ted, collate_fn=collate))


def test_a_loader_without_the_sessions_data_set_is_refused():
    ted = session()
    loader = DataLoader(ted.dataset.dataset, 32, sampler=ted.sampler)
    with pytest.raises(ValueError, match=r"ids of its samples at 'id'.*`ted\.dataset`"):
        ted.check(loader)


def test_a_function_for_items_is_not_to_be_wrapped_for_pairs():
    for ted in (session(), session(2, lambda k: (float(k), k))):
        loader = loader_of(ted, collate_fn=ted.collate(columns))
        with pytest.raises(
            TypeError, match=r"must be given pairs .* without `ted\.col"
        ):
            next(iter(loader))
        with pytest.raises(TypeError, match="must be given pairs"):
            ted.check(loader)


@pytest.mark.parametrize(
    ("ted", "collate"),
    [
        (session(), None),
        (session(2, lambda k: (float(k), k)), None),
        (session((1, "id"), lambda k: (k, {"box": k})), None),
        (session((1, "id"), lambda k: (k, {})), lambda items: tuple(zip(*items))),  # noqa: B905
    ],
    ids=["key", "position", "target", "targets in a list"],
)
def test_a_check_finds_the_ids_where_they_are(ted, collate):
    assert "ids: 32 in the first batch" in str(
        ted.check(loader_of(ted, collate_fn=collate))
    )


def train(ted, loader, read):
    """Train a whole run; give its batches, scores and weights."""
    torch.manual_seed(0)
    net, seen = nn.Linear(FEATURES, CLASSES), []
    optimizer = torch.optim.SGD(net.parameters(), lr=0.2)
    for epoch in range(ted.pruner.epochs):
        ted.set_epoch(epoch)
        for batch in loader:
            ids, x, y = read(batch)
            optimizer.zero_grad()
            z = net(x)
            ted.loss(cross_entropy(z, y), mask=z, ids=ids).backward()
            optimizer.step()
            seen.append(ids.tolist())
    ted.finish()
    return seen, ted.pruner.scores.tolist(), net.weight.tolist()


def beside(batch):
    ids, (x, y) = batch
    return ids, x, y


def inside(batch):
    return batch["id"], batch["x"], batch["y"]


OPTIONS: dict[str, Any] = {"epochs": 5, "prune_ratio": 0.6, "seed": 3}


@pytest.mark.parametrize("loading", [{}, WORKERS], ids=["here", "workers"])
@pytest.mark.parametrize("host", ["PyTorch", "torchdata", "Accelerate"])
def test_a_run_is_the_same_with_ids_beside_or_inside(host, loading):
    pairs = TED(labelled(N), **OPTIONS)
    plain = DataLoader(pairs.dataset, 6, sampler=pairs.sampler)
    items = torch_items.Items(N, torch_items.as_dict)
    if host == "Accelerate":
        accelerator = Accelerator(cpu=True)
        given = {**OPTIONS, "multiple_of": 1, "batch_size": 6, "ids": "id"}
        ted = AcceleratedTED(accelerator, items, **given)
    else:
        ted = TED(items, **OPTIONS, ids="id")
    if host == "torchdata":
        loader = stateful_loader(ted, batch_size=6, **loading)
    else:
        loader = DataLoader(ted.dataset, 6, sampler=ted.sampler, **loading)
    if host == "Accelerate":
        loader = accelerator.prepare(loader)
    assert train(ted, loader, inside) == train(pairs, plain, beside)


class Inside(lightning_runs.Classifier):
    def training_step(self, batch, index):
        x, y, ids = batch
        return super().training_step((ids, (x, y)), index)

    def configure_optimizers(self):
        found = self.ted.session.check(self.ted.loader(**self.loading))
        assert "ids: 8 in the first batch" in str(found)
        return super().configure_optimizers()


def test_lightning_trains_the_same_with_ids_inside():
    runs = []
    for module, ids in ((lightning_runs.Classifier, None), (Inside, 2)):
        ted = lightning_runs.make_ted(ids=ids)
        net, _, _ = lightning_runs.fit(ted=ted, module=module)
        runs.append((net.orders(), ted.pruner.scores.tolist(), net.net.weight.tolist()))
    assert runs[0] == runs[1]


def test_a_data_sets_own_state_goes_along_with_ids_inside():
    class Counted(torch_items.Items):
        read = 0

        def __getitem__(self, k):
            self.read += 1
            return super().__getitem__(k)

        def state_dict(self):
            return {"read": self.read}

        def load_state_dict(self, state):
            self.read = state["read"]

    ted = TED(Counted(N, torch_items.as_dict), **OPTIONS, ids="id")
    ted.set_epoch(0)
    loader = stateful_loader(ted, batch_size=6)
    batch = next(iter(loader))
    assert batch["id"].tolist() == ted.pruner.plan().order[:6].tolist()
    assert loader.state_dict()["dataset_state"] == {"read": 6}
