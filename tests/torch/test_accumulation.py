from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn
from torch_runs import cross_entropy, labelled, opened, oracle, recorded, two_parts

N = 23


def batches(n, size):
    return torch.arange(n).split(size)


def values_of(parts, data):
    return oracle(nn.Sequential(*parts), nn.Identity(), *data.tensors)


@settings(max_examples=25, deadline=None)
@given(
    n=st.integers(1, 30),
    size=st.integers(1, 31),
    every=st.integers(1, 4),
    sums=st.booleans(),
    factor=st.floats(1e-3, 1e3),
)
def test_values_do_not_depend_on_how_the_losses_are_summed(
    n, size, every, sums, factor
):
    data, parts = labelled(n, seed=n), two_parts()
    ted, (x, y) = opened(data), data.tensors
    for ids in batches(n, size):
        z = nn.Sequential(*parts)(x[ids])
        total = ted.loss(cross_entropy(z, y[ids]), mask=z, ids=ids)
        (total * (len(ids) if sums else 1) * factor / every).backward()
    torch.testing.assert_close(
        recorded(ted), values_of(parts, data), rtol=1e-4, atol=1e-6
    )


def test_accumulated_gradients_are_those_of_the_whole_batch():
    data, (before, after) = labelled(24), two_parts()
    net, (x, y) = nn.Sequential(before, after), data.tensors
    ted = opened(data)
    for ids in batches(24, 6):
        z = net(x[ids])
        (ted.loss(cross_entropy(z, y[ids]), mask=z, ids=ids) / 4).backward()
    gradients = [parameter.grad.clone() for parameter in net.parameters()]
    net.zero_grad()
    cross_entropy(net(x), y).mean().backward()
    for ours, parameter in zip(gradients, net.parameters(), strict=True):
        torch.testing.assert_close(ours, parameter.grad)


def test_a_second_loss_that_does_not_depend_on_the_mask_leaves_the_values_alone():
    data, parts = labelled(N), two_parts()
    ted, (x, y) = opened(data), data.tensors
    for ids in batches(N, 8):
        h = parts[0](x[ids])
        z = parts[1](h)
        total = ted.loss(cross_entropy(z, y[ids]), mask=z, ids=ids)
        decay = sum(p.square().sum() for part in parts for p in part.parameters())
        (total + 0.1 * decay + h.square().mean()).backward()
    torch.testing.assert_close(recorded(ted), values_of(parts, data))


def test_a_second_loss_of_the_mask_adds_its_share_per_unit_of_the_first():
    data, parts = labelled(N), two_parts()
    ted, (x, y) = opened(data), data.tensors
    for ids in batches(N, 8):
        z = nn.Sequential(*parts)(x[ids])
        total = ted.loss(cross_entropy(z, y[ids]), mask=z, ids=ids)
        (total + 0.5 * z.square().sum(1).mean()).backward()

    def both(z, y):
        return cross_entropy(z, y) + 0.5 * z.square().sum(1)

    want = oracle(nn.Sequential(*parts), nn.Identity(), x, y, both)
    torch.testing.assert_close(recorded(ted), want)


@pytest.mark.parametrize("first", [False, True], ids=["after", "before"])
def test_a_backward_of_another_loss_through_the_mask_is_no_observation(first):
    data, parts = labelled(N), two_parts()
    ted, (x, y) = opened(data), data.tensors
    for ids in batches(N, 8):
        z = nn.Sequential(*parts)(x[ids])
        total = ted.loss(cross_entropy(z, y[ids]), mask=z, ids=ids)
        other = 3 * z.square().sum()
        for each in (other, total) if first else (total, other):
            each.backward(retain_graph=True)
    torch.testing.assert_close(recorded(ted), values_of(parts, data))
    assert ted.pruner.report().observed.tolist() == [N]


def test_a_gradient_penalty_is_no_second_observation():
    data, parts = labelled(N), two_parts()
    ted, (x, y) = opened(data), data.tensors
    for ids in batches(N, 8):
        z = nn.Sequential(*parts)(x[ids])
        total = ted.loss(cross_entropy(z, y[ids]), mask=z, ids=ids)
        weights = [p for part in parts for p in part.parameters()]
        slopes = torch.autograd.grad(total, weights, create_graph=True)
        sum(slope.square().sum() for slope in slopes).backward()
    torch.testing.assert_close(recorded(ted), values_of(parts, data))
    assert ted.pruner.report().observed.tolist() == [N]


def test_a_second_backward_of_the_same_total_is_no_second_sample():
    data, parts = labelled(N), two_parts()
    ted, (x, y) = opened(data), data.tensors
    for ids in batches(N, 8):
        z = nn.Sequential(*parts)(x[ids])
        total = ted.loss(cross_entropy(z, y[ids]), mask=z, ids=ids)
        total.backward(retain_graph=True)
        (7 * total).backward()
    torch.testing.assert_close(recorded(ted), values_of(parts, data))
    assert ted.pruner.report().observed.tolist() == [N]
    assert ted.pruner.report().repeated.tolist() == [0]


def test_a_gradient_of_the_total_alone_records_like_a_backward():
    data, parts = labelled(N), two_parts()
    ted, (x, y) = opened(data), data.tensors
    z = nn.Sequential(*parts)(x)
    total = ted.loss(cross_entropy(z, y), mask=z, ids=torch.arange(N))
    torch.autograd.grad(total, list(parts[0].parameters()))
    torch.testing.assert_close(recorded(ted), values_of(parts, data))


@settings(max_examples=15, deadline=None)
@given(
    shape=st.lists(st.integers(1, 4), min_size=0, max_size=2),
    size=st.integers(1, 7),
    weighted=st.booleans(),
)
def test_losses_of_tokens_and_pixels_are_averaged_over_each_sample(
    shape, size, weighted
):
    torch.manual_seed(sum(shape))
    n, width = 7, torch.Size(shape).numel()
    head = nn.Sequential(nn.Linear(5, width), nn.Unflatten(1, shape or (1,)))
    x, targets = torch.randn(n, 5), torch.randn(n, *(shape or (1,)))
    weights = torch.linspace(0.5, 2, n)
    ted = opened(torch.utils.data.TensorDataset(x, targets))
    for ids in batches(n, size):
        z = head(x[ids])
        losses = (z - targets[ids]).square()
        own = losses.flatten(1).mean(1)
        options = {"weights": weights[ids]} if weighted else {}
        total = ted.loss(losses, mask=z, ids=ids, **options)
        torch.testing.assert_close(total, (own * options.get("weights", 1)).mean())
        total.backward()
    want = oracle(head, nn.Identity(), x, targets, lambda z, y: (z - y).square())
    torch.testing.assert_close(recorded(ted), want, rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("saves", [False, True], ids=["", "saved meanwhile"])
@pytest.mark.parametrize("size", [8, 1])
def test_any_number_of_steps_in_flight_is_not_mixed_up(size, saves):
    n = 12 * size if size > 1 else 150
    data, parts = labelled(n), two_parts()
    ted, (x, y) = opened(data), data.tensors
    totals = []
    for ids in batches(n, size):
        h = ted.mask(parts[0](x[ids]), ids=ids)
        totals.append(ted.loss(cross_entropy(parts[1](h), y[ids]), ids=ids))
    for total in reversed(totals):
        total.backward()
        if saves:
            ted.state_dict()
    torch.testing.assert_close(
        recorded(ted), oracle(*parts, *data.tensors), rtol=1e-4, atol=1e-6
    )
    assert ted.pruner.report().observed.tolist() == [n]
