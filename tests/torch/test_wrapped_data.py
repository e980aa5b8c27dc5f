"""What the wrapper around a data set hands on, and which samples a state belongs to."""

from __future__ import annotations

import copy
import pickle

import pytest
import torch
from ted_torch import TED, WithIds
from ted_torch._state import run_facts
from torch import nn
from torch.utils.data import (
    ConcatDataset,
    DataLoader,
    Dataset,
    Subset,
    TensorDataset,
    random_split,
)

from ted_core import CheckpointError


class Pictures(Dataset):
    """Augments by the epoch, as a curriculum does."""

    classes = ("cat", "dog")

    def __init__(self, n=20):
        self.n, self.epoch, self.transform = n, None, None

    def __len__(self):
        return self.n

    def __getitem__(self, k):
        item = torch.tensor(float(k))
        return self.transform(item) if self.transform else item

    def set_epoch(self, epoch):
        self.epoch = epoch


def steps(ted, loader, weight):
    for ids, x in loader:
        ted.loss(weight * x + x, ids=ids).backward()


@pytest.mark.parametrize("inside", ["alone", "subset", "nested", "concatenated"])
def test_the_session_tells_the_epoch_to_the_data_set(inside):
    data = Pictures()
    wrapped = {
        "alone": data,
        "subset": Subset(data, range(10)),
        "nested": Subset(Subset(data, range(15)), range(10)),
        "concatenated": ConcatDataset([torch.arange(5.0), Subset(data, range(10))]),
    }[inside]
    ted = TED(wrapped, epochs=5, signal="loss")
    weight = nn.Parameter(torch.ones(()))
    for epoch in range(3):
        ted.set_epoch(epoch)
        assert data.epoch == epoch
        steps(ted, DataLoader(ted.dataset, 5, sampler=ted.sampler), weight)


def test_a_resumed_run_tells_the_data_set_where_it_goes_on():
    ted = TED(Pictures(), epochs=5, signal="loss")
    ted.set_epoch(0)
    loader = DataLoader(ted.dataset, 5, sampler=ted.sampler)
    steps(ted, loader, nn.Parameter(torch.ones(())))
    ted.set_epoch(1)
    again = TED(Pictures(), epochs=5, signal="loss")
    again.load_state_dict(ted.state_dict())
    again.set_epoch(again.epoch)
    assert again.dataset.epoch == 1


def test_a_framework_may_set_the_epoch_of_sampler_and_data_set_as_well():
    ted = TED(Pictures(), epochs=5)
    ted.set_epoch(0)
    order = list(ted.sampler)
    ted.sampler.set_epoch(3)
    ted.dataset.set_epoch(0)
    assert list(ted.sampler) == order
    assert ted.epoch == 0


def test_attributes_of_the_data_set_are_read_through_the_wrapper():
    ted = TED(Pictures(), epochs=5)
    loader = DataLoader(ted.dataset, 5, sampler=ted.sampler)
    assert loader.dataset.classes == ("cat", "dog")
    assert not hasattr(loader.dataset, "targets")
    assert not hasattr(loader.dataset, "__array__")
    for copied in (copy.deepcopy(ted.dataset), pickle.loads(pickle.dumps(ted.dataset))):  # noqa: S301
        assert len(copied) == 20
        assert copied.classes == ("cat", "dog")


@pytest.mark.parametrize(
    ("data", "place"),
    [
        (Pictures(), r"ted\.dataset\.dataset\.transform"),
        (Subset(Pictures(), range(9)), r"ted\.dataset\.dataset\.dataset\.transform"),
    ],
)
def test_a_transform_set_on_the_loaders_data_set_is_refused_with_its_path(data, place):
    ted = TED(data, epochs=5)
    loader = DataLoader(ted.dataset, 5, sampler=ted.sampler)
    with pytest.raises(AttributeError, match=f"`transform` must be set .*{place} = "):
        loader.dataset.transform = torch.neg
    inner = ted.dataset.dataset
    (inner if isinstance(inner, Pictures) else inner.dataset).transform = torch.neg
    assert ted.dataset[3][1] == -3


def test_a_wrapper_of_ones_own_has_attributes_of_its_own():
    class Mine(WithIds):
        offset = 0

        def __getitem__(self, index):
            number, item = super().__getitem__(index)
            return number, item + self.offset

    mine = Mine(list(range(5)))
    mine.offset = 10
    assert mine[2] == (2, 12)


def split(seed=None):
    data = TensorDataset(torch.arange(40.0))
    generator = torch.Generator()
    generator.seed() if seed is None else generator.manual_seed(seed)
    return random_split(data, [30, 10], generator=generator)[0]


def test_a_split_that_differs_after_a_resume_is_refused():
    state = TED(split(), epochs=5).state_dict()
    again = TED(split(), epochs=5)
    with pytest.raises(CheckpointError, match=r"`fingerprint` .*random_split"):
        again.load_state_dict(state)
    assert again.epoch == 0


def test_the_same_split_of_the_same_split_goes_on():
    def nested(seed):
        return Subset(split(seed), range(3, 20))

    state = TED(nested(1), epochs=5).state_dict()
    TED(nested(1), epochs=5).load_state_dict(state)
    with pytest.raises(CheckpointError, match="`fingerprint`"):
        TED(nested(2), epochs=5).load_state_dict(state)


def test_a_fingerprint_of_ones_own_names_the_samples(tmp_path):
    data = TensorDataset(torch.arange(30.0))
    ted = TED(data, epochs=5, fingerprint="split 3 of 2026")
    path = tmp_path / "ted.pt"
    torch.save(ted.state_dict(), path)
    state = torch.load(path, weights_only=True)
    TED(data, epochs=5, fingerprint="split 3 of 2026").load_state_dict(state)
    with pytest.raises(
        CheckpointError, match=r"saved 'split 3 of 2026', here 'split 4"
    ):
        TED(data, epochs=5, fingerprint="split 4").load_state_dict(state)
    with pytest.raises(TypeError, match="`fingerprint` must be an int or a str"):
        TED(data, epochs=5, fingerprint=1.5)


def test_a_state_without_a_fingerprint_is_taken():
    data = TensorDataset(torch.arange(30.0))
    state = TED(data, epochs=5).state_dict()
    assert "fingerprint" not in state
    TED(split(), epochs=5).load_state_dict(state)


def test_processes_compare_their_splits():
    facts = [
        run_facts(ted.sampler, epoch=0, fingerprint=found)
        for rank in (0, 1)
        for ted in [TED(split(rank), epochs=5)]
        for found in [ted.state_dict()["fingerprint"]]
    ]
    assert facts[0]["fingerprint"] != facts[1]["fingerprint"]
