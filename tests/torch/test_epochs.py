from __future__ import annotations

import pytest
import torch
from ted_torch import TED
from torch.utils.data import DataLoader, Dataset
from torch_runs import cross_entropy, labelled, opened

from ted_core import EpochError, TedWarning

N = 20


def epoch_of(ted, net, *, losses=1):
    for ids, (x, y) in DataLoader(ted.dataset, batch_size=8, sampler=ted.sampler):
        for _ in range(losses):
            z = net(x)
            ted.loss(cross_entropy(z, y), mask=z, ids=ids).backward()


def test_a_set_epoch_that_is_forgotten_later_is_an_error():
    ted, net = opened(labelled(N)), torch.nn.Linear(6, 4)
    epoch_of(ted, net)
    epoch_of(ted, net)
    with pytest.raises(EpochError, match="call `set_epoch` before each epoch"):
        epoch_of(ted, net)


def test_looking_at_the_data_and_steps_taken_twice_are_no_forgotten_set_epoch():
    ted, net = opened(labelled(N)), torch.nn.Linear(6, 4)
    for _ in range(3):
        list(ted.sampler)
    epoch_of(ted, net, losses=2)
    ted.set_epoch(1)
    assert ted.report().repeated.tolist() == [N]


def test_a_step_taken_twice_keeps_the_position_in_the_epoch():
    ted, net = opened(labelled(N)), torch.nn.Linear(6, 4)
    for ids, (x, y) in DataLoader(ted.dataset, batch_size=8, sampler=ted.sampler):
        for _ in range(2):
            z = net(x)
            ted.loss(cross_entropy(z, y), mask=z, ids=ids).backward()
        break
    rest = list(ted.sampler)[8:]
    again = opened(labelled(N))
    again.load_state_dict(ted.state_dict())
    assert list(again.sampler) == rest


class Growing(Dataset):
    size = 10

    def __len__(self):
        return self.size

    def __getitem__(self, index):
        return torch.ones(6), 0


def test_a_data_set_that_changes_its_size_is_refused():
    data = Growing()
    ted = TED(data, epochs=5)
    ted.set_epoch(0)
    data.size = 11
    with pytest.raises(ValueError, match="must keep its 10 samples, got 11 in epoch 0"):
        ted.set_epoch(0)


def test_a_step_reads_no_number_from_the_device():
    # A meta tensor has no numbers: whoever asks for one fails.
    with torch.device("meta"):
        net = torch.nn.Sequential(torch.nn.Linear(6, 5), torch.nn.Linear(5, 4))
        x, y = torch.ones(8, 6), torch.zeros(8, dtype=torch.int64)
        ids = torch.arange(8)
    for options in ({}, {"signal": "loss"}):
        ted = TED(labelled(N), epochs=5, device="meta", **options)
        ted.set_epoch(0)
        for _ in range(70):
            h = ted.mask(net[0](x), ids=ids)
            ted.loss(cross_entropy(net[1](h), y), ids=ids).backward()
            z = net(x)
            ted.loss(cross_entropy(z, y), mask=z, ids=ids).backward()
        with pytest.raises(NotImplementedError):
            ted.set_epoch(1)


def test_few_epochs_warn_at_the_line_of_the_caller():
    with pytest.warns(TedWarning, match="saves little") as warned:
        TED(range(99), epochs=4)
    assert warned[0].filename == __file__


def test_a_loop_longer_than_the_run_is_told_so():
    data = labelled(8)
    ted = TED(data, epochs=2, prune_ratio=0.0, method="random")
    for epoch in range(2):
        ted.set_epoch(epoch)
        ids = torch.arange(8)
        z = torch.zeros(8, 4, requires_grad=True)
        ted.loss(cross_entropy(z, data.tensors[1]), ids=ids).backward()
    said = r"got 2; the run has `epochs`=2: make it as long as the loop"
    with pytest.raises(ValueError, match=said):
        ted.set_epoch(2)
