from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from ted_torch.analysis import (
    flat_gradient,
    flat_weights,
    load_flat_weights,
    sample_losses,
)
from torch import nn
from torch.nn import functional as F  # noqa: N812
from torch.utils.data import Subset, TensorDataset

from ted_core.analysis import gradient_correlation, loss_along


def cross_entropy(z, y):
    return F.cross_entropy(z, y, reduction="none")


@pytest.fixture
def net():
    torch.manual_seed(3)
    return nn.Sequential(
        nn.Linear(6, 5),
        nn.BatchNorm1d(5),
        nn.ReLU(),
        nn.Dropout(0.5),
        nn.Linear(5, 4),
    ).double()


@pytest.fixture
def data(data):
    x, y = data.tensors
    return TensorDataset(x.double(), y)


def test_losses_are_those_of_one_sample_at_a_time_in_order(net, data):
    found = sample_losses(net, data, cross_entropy, batch_size=7)
    net.eval()
    slow = [F.cross_entropy(net(x[None]), y[None]).item() for x, y in data]
    assert found.dtype == np.float64
    np.testing.assert_allclose(found, slow, rtol=1e-12)


def test_losses_of_tokens_are_averaged(data):
    found = sample_losses(nn.Identity(), data, lambda z, _: z)
    np.testing.assert_allclose(found, data.tensors[0].mean(1), rtol=1e-12)


def test_no_samples_have_no_losses(net, data):
    assert sample_losses(net, Subset(data, []), cross_entropy).shape == (0,)


@pytest.mark.parametrize("batch_size", [1, 7, 40])
def test_the_gradient_is_that_of_the_mean_loss_whatever_the_batches(
    net, data, batch_size
):
    found = flat_gradient(net, data, cross_entropy, batch_size=batch_size)
    x, y = data.tensors
    net.eval()
    F.cross_entropy(net(x), y).backward()
    slow = np.concatenate([p.grad.numpy().ravel() for p in net.parameters()])
    assert np.ptp(slow) > 0
    np.testing.assert_allclose(found, slow, atol=1e-12)


def test_the_gradients_of_parts_add_up_to_that_of_the_whole(net, data):
    kept = np.arange(0, 40, 3, dtype=np.int32)
    pruned = np.setdiff1d(np.arange(40), kept)
    full, retained, rest = (
        flat_gradient(net, Subset(data, ids), cross_entropy)
        for ids in (np.arange(40), kept, pruned)
    )
    share = kept.size / 40
    np.testing.assert_allclose(share * retained + (1 - share) * rest, full, atol=1e-12)
    assert gradient_correlation(full, full) == pytest.approx(1)
    assert -1 < gradient_correlation(retained, full) < 1


def test_frozen_parameters_have_no_entry_and_unused_ones_are_zero(data):
    net = nn.ModuleDict({"used": nn.Linear(6, 4), "unused": nn.Linear(2, 1)}).double()
    net["used"].bias.requires_grad_(requires_grad=False)
    net.forward = net["used"].forward
    found = flat_gradient(net, data, cross_entropy)
    assert found.shape == (24 + 3,)
    assert np.abs(found[:24]).max() > 0
    assert found[24:].tolist() == [0, 0, 0]


def test_the_network_its_mode_and_its_gradients_are_left_as_they_were(net, data):
    net[1].eval()  # frozen statistics inside a network that trains
    net[0].weight.grad = torch.ones_like(net[0].weight)
    modes = [module.training for module in net.modules()]
    before, state = flat_weights(net), torch.get_rng_state()
    sample_losses(net, data, cross_entropy)
    flat_gradient(net, data, cross_entropy)
    assert [module.training for module in net.modules()] == modes
    np.testing.assert_array_equal(flat_weights(net), before)
    assert (net[0].weight.grad == 1).all()
    assert net[4].weight.grad is None
    assert torch.equal(torch.get_rng_state(), state)


def test_the_mode_comes_back_after_an_error(net, data):
    with pytest.raises(ValueError, match="got a scalar"):
        sample_losses(net, data, F.cross_entropy)
    assert all(module.training for module in net.modules())


def test_weights_come_back_with_the_statistics_of_batch_norm(net, data):
    before = flat_weights(net)
    losses = sample_losses(net, data, cross_entropy)
    net(data.tensors[0])  # moves the statistics, not the parameters
    assert np.abs(sample_losses(net, data, cross_entropy) - losses).max() > 1e-6
    load_flat_weights(net, before)
    np.testing.assert_array_equal(sample_losses(net, data, cross_entropy), losses)


@settings(deadline=None)
@given(st.integers(0, 2**32), st.sampled_from([torch.float32, torch.float64]))
def test_what_is_written_is_read_in_the_networks_precision(seed, dtype):
    net = nn.Linear(3, 2).to(dtype)
    theta = np.random.default_rng(seed).normal(size=8)
    load_flat_weights(net, theta)
    kind = np.float32 if dtype == torch.float32 else np.float64
    np.testing.assert_array_equal(flat_weights(net), theta.astype(kind))


def test_half_precision_is_read_as_it_is():
    net = nn.Linear(3, 2).to(torch.bfloat16)
    before = flat_weights(net)
    load_flat_weights(net, before)
    np.testing.assert_array_equal(flat_weights(net), before)


def test_the_loss_along_the_line_starts_and_ends_with_the_networks_own(net, data):
    first = flat_weights(net)
    losses = [sample_losses(net, data, cross_entropy).mean()]
    optimizer = torch.optim.SGD(net.parameters(), lr=0.1)
    for _ in range(5):
        optimizer.zero_grad()
        F.cross_entropy(net(data.tensors[0]), data.tensors[1]).backward()
        optimizer.step()
    last = flat_weights(net)
    losses.append(sample_losses(net, data, cross_entropy).mean())

    def evaluate(theta):
        load_flat_weights(net, theta)
        return sample_losses(net, data, cross_entropy).mean()

    found = loss_along(evaluate, first, last, [0, 0.5, 1])
    np.testing.assert_allclose(found[[0, 2]], losses, rtol=1e-12)


def test_bad_input_is_refused_by_name(net, data):
    with pytest.raises(ValueError, match=r"`theta` must have shape \(\d+,\), got"):
        load_flat_weights(net, [1.0])
    with pytest.raises(ValueError, match=r"`loss` must return shape \(40, ...\)"):
        sample_losses(net, data, lambda z, _: z.T.mean(1))
    with pytest.raises(ValueError, match="`data` must hold at least one sample"):
        flat_gradient(net, Subset(data, []), cross_entropy)
    with pytest.raises(TypeError, match="`losses` must be a floating-point tensor"):
        sample_losses(net, data, lambda _, y: y)
