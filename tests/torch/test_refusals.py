from __future__ import annotations

import weakref

import pytest
import torch
from ted_torch import TED, EpochBuffer
from torch import nn
from torch.nn import functional as F  # noqa: N812
from torch.utils.data import DataLoader

from ted_core import EpochError, TedWarning

IDS = torch.arange(4)


@pytest.fixture
def ted(data):
    session = TED(data, epochs=5, prune_ratio=0.5)
    session.set_epoch(0)
    return session


@pytest.fixture
def z():
    return torch.ones(4, 3, requires_grad=True) * 1


def losses_of(z):
    return F.cross_entropy(z, torch.zeros(len(z), dtype=torch.int64), reduction="none")


def test_a_scalar_loss_is_refused_with_the_remedy(ted, z):
    with pytest.raises(ValueError, match=r'`losses` .* got a scalar; .*"none"'):
        ted.loss(losses_of(z).mean(), mask=z, ids=IDS)


def test_losses_and_masks_without_a_graph_are_refused(ted, z):
    with pytest.raises(ValueError, match="`losses` must have a graph"):
        ted.loss(losses_of(z).detach(), mask=z, ids=IDS)
    with pytest.raises(ValueError, match="`mask` must have a graph"):
        ted.loss(losses_of(z), mask=z.detach(), ids=IDS)


@pytest.mark.parametrize("wrong", [-1, 40])
def test_an_id_out_of_range_on_the_cpu_is_refused_at_the_call(ted, z, wrong):
    with pytest.raises(ValueError, match=rf"`ids` must be in \[0, 40\), got {wrong}"):
        ted.loss(losses_of(z), mask=z, ids=torch.tensor([0, 1, wrong, 2]))


def test_an_id_out_of_range_on_a_device_is_refused_when_the_epoch_closes():
    buffer = EpochBuffer(4)
    indices = buffer.indices(torch.tensor([0, -1, 4, 3]))
    assert indices.tolist() == [0, 4, 4, 3]
    buffer.add(indices, torch.ones(4), torch.ones(4, dtype=torch.bool))
    with pytest.raises(EpochError, match=r"`ids` must be in \[0, 4\), got 2 others"):
        buffer.read(7)


@pytest.mark.parametrize(
    ("ids", "error"),
    [
        (torch.arange(3), ValueError),
        (torch.arange(4.0), TypeError),
        (torch.ones(4, dtype=torch.bool), TypeError),
        ([0, 1, 2, 3], TypeError),
    ],
)
def test_ids_of_another_shape_or_kind_are_refused(ted, z, ids, error):
    with pytest.raises(error, match="`ids` must"):
        ted.loss(losses_of(z), mask=z, ids=ids)


def test_masks_and_weights_of_another_size_are_refused(ted, z):
    with pytest.raises(ValueError, match=r"`mask` must have shape \(4, \.\.\.\)"):
        ted.loss(losses_of(z), mask=z[:3], ids=IDS)
    with pytest.raises(TypeError, match="`mask` must be a floating-point tensor"):
        ted.loss(losses_of(z), mask=IDS, ids=IDS)
    with pytest.raises(ValueError, match=r"`weights` must have shape \(4,\)"):
        ted.loss(losses_of(z), mask=z, ids=IDS, weights=torch.ones(4, 1))


def test_a_loss_without_a_mask_or_with_that_of_other_ids_is_refused(ted, z):
    with pytest.raises(ValueError, match="`mask` must be a tensor of this forward"):
        ted.loss(losses_of(z), ids=IDS)
    h = ted.mask(z, ids=IDS)
    with pytest.raises(ValueError, match="`mask` must be a tensor of this forward"):
        ted.loss(losses_of(h), ids=IDS + 4)


def test_a_mask_without_gradients_records_nothing_and_stays_open_to_evaluation(ted, z):
    with torch.no_grad():
        assert ted.mask(z, ids=IDS) is z
    assert ted.state_dict()["buffer.meters"].tolist() == [0, 0, 0]


def test_a_mask_changed_in_place_is_refused(ted, z):
    h = ted.mask(z, ids=IDS)
    with pytest.raises(ValueError, match="`mask` must keep its numbers"):
        ted.loss(losses_of(h.mul_(2)), ids=IDS)


def test_a_mask_changed_in_place_after_the_loss_is_refused_in_the_backward(ted, z):
    total = ted.loss(losses_of(z), mask=z, ids=IDS)
    with torch.no_grad():
        z.mul_(2)
    with pytest.raises(ValueError, match="`mask` must keep its numbers"):
        total.backward()


def test_a_recorded_graph_is_freed_with_its_tensors(ted):
    x = torch.ones(4, 3, requires_grad=True)
    z = x * 1
    gone = weakref.ref(z)
    ted.loss(losses_of(z), mask=z, ids=IDS).backward()
    del z
    assert gone() is None


def test_a_forgotten_set_epoch_is_an_error_at_the_first_loss(data, z):
    session = TED(data, epochs=5)
    with pytest.raises(EpochError, match="call `set_epoch`"):
        session.loss(losses_of(z), mask=z, ids=IDS)


def test_set_epoch_neither_jumps_nor_goes_back(ted, train, make_net):
    loader = DataLoader(ted.dataset, batch_size=8, sampler=ted.sampler)
    train(ted, make_net(), loader)
    with pytest.raises(ValueError, match=r"`epoch` must be in \[0, 1\], got 2"):
        ted.set_epoch(2)
    ted.set_epoch(1)
    ted.set_epoch(1)
    assert ted.epoch == 1
    with pytest.raises(ValueError, match=r"`epoch` must be in \[1, 2\], got 0"):
        ted.set_epoch(0)


def test_an_epoch_without_a_recorded_value_is_an_error(ted, data):
    with pytest.raises(EpochError, match="got none of the 40 planned in epoch 0"):
        ted.set_epoch(1)
    net, other = nn.Linear(6, 4), nn.Linear(6, 4)
    x, y = data.tensors
    # This mask requires a gradient, but the loss does not depend on it.
    losses = F.cross_entropy(net(x), y, reduction="none")
    ted.loss(losses, mask=other(x), ids=torch.arange(40)).backward()
    for close in (lambda: ted.set_epoch(1), ted.close_epoch, ted.finish):
        with pytest.raises(EpochError, match="got none from 40 samples in epoch 0"):
            close()
    assert ted.epoch == 0


def test_an_epoch_of_values_that_are_not_finite_is_an_error(ted, z):
    (ted.loss(losses_of(z), mask=z, ids=IDS) * float("nan")).backward()
    for _ in range(2):
        with pytest.raises(EpochError, match="must have a finite value, got 4 samples"):
            ted.set_epoch(1)


def test_a_sample_seen_more_often_than_the_buffer_counts_is_an_error():
    buffer = EpochBuffer(2)
    for _ in range(256):
        indices = buffer.indices(torch.tensor([1]))
        buffer.deliver(indices)
        buffer.add(indices, torch.ones(1), torch.tensor([True]))
    with pytest.raises(EpochError, match="at most 255 times"):
        buffer.read(0)


def test_finish_is_harmless_when_repeated_and_before_the_first_step(data):
    session = TED(data, epochs=5)
    with pytest.warns(TedWarning, match="must have 5 epochs as planned, got 0"):
        session.finish()
    session.finish()
    session.close_epoch()
    assert session.pruner.finished
    with pytest.raises(EpochError, match="finished"):
        session.set_epoch(0)


def test_a_step_never_asks_the_device_for_a_number(ted, z, monkeypatch):
    losses = losses_of(z)
    monkeypatch.setattr(torch.compiler, "is_compiling", lambda: True)  # ids unchecked

    def refuse(*_, **__):
        message = "a step waited"
        raise AssertionError(message)

    for name in ("item", "cpu", "tolist", "numpy", "__bool__", "__int__", "__float__"):
        monkeypatch.setattr(torch.Tensor, name, refuse)
    ted.loss(losses, mask=z, ids=IDS).backward()
