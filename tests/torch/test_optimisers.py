from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn
from torch.utils.data import DataLoader
from torch_runs import CLASSES, FEATURES, cross_entropy, labelled, opened

from ted_core import Constant

N, EPOCHS, RATE = 40, 6, 0.02


def adam(weights):
    return torch.optim.Adam(weights, lr=RATE, eps=1e-30)


def adamw(weights):
    return torch.optim.AdamW(weights, lr=RATE, eps=1e-30, weight_decay=0.1)


def sgd(weights):
    return torch.optim.SGD(weights, lr=RATE)


ADAMS = pytest.mark.parametrize("make_optimizer", [adam, adamw])


def train(make_optimizer, **options):
    """Train in float64; give the orders, the last weights and the scales."""
    ted = opened(labelled(N), epochs=EPOCHS, seed=2, **options)
    torch.manual_seed(0)
    net = nn.Linear(FEATURES, CLASSES).double()
    optimizer = make_optimizer(net.parameters())
    orders, scales = [], []
    for epoch in range(EPOCHS):
        ted.set_epoch(epoch)
        orders.append(ted.pruner.plan().order.tolist())
        scales.append(ted.pruner.plan().loss_scale)
        for ids, (x, y) in DataLoader(ted.dataset, batch_size=8, sampler=ted.sampler):
            optimizer.zero_grad()
            z = net(x.double())
            ted.loss(cross_entropy(z, y), mask=z, ids=ids).backward()
            optimizer.step()
    ted.finish()
    return orders, net.weight.detach(), scales


def one_step(*, keep, seed=0, clip=None, **options):
    """Give the change that one step makes, and the norm of its gradient."""
    ted = opened(labelled(N, seed), schedule=Constant(1 - keep, anneal=0), **options)
    torch.manual_seed(seed)
    net = nn.Linear(FEATURES, CLASSES, bias=False)
    # From zero, so that the change is the weight, and is not rounded by it.
    nn.init.zeros_(net.weight)
    x, y = labelled(N, seed).tensors
    z = net(x + 0.1)
    # Logits of zero have values of zero: the loss is that of moved ones.
    ted.loss(
        cross_entropy(z + x[:, :CLASSES], y), mask=z, ids=torch.arange(N)
    ).backward()
    norm = net.weight.grad.norm()
    if clip is not None:
        nn.utils.clip_grad_norm_(net.parameters(), clip)
    sgd(net.parameters()).step()
    return net.weight.detach(), norm


@ADAMS
@pytest.mark.parametrize("keep", [0.5, 0.3])
def test_a_factor_that_stays_is_nothing_to_adam(make_optimizer, keep):
    schedule = Constant(1 - keep, anneal=0)
    on, off = (
        train(make_optimizer, schedule=schedule, scale_loss=scaled)
        for scaled in (True, False)
    )
    assert on[2] == pytest.approx([1 / keep] * EPOCHS)
    assert off[2] == [1.0] * EPOCHS
    assert on[0] == off[0]
    torch.testing.assert_close(on[1], off[1], rtol=1e-9, atol=1e-9)


@ADAMS
def test_a_factor_that_changes_lasts_in_adams_moments(make_optimizer):
    # Moments mix steps of several epochs: each weighs as much as its own factor.
    on, off = (
        train(make_optimizer, prune_ratio=0.7, scale_loss=scaled)
        for scaled in (True, False)
    )
    assert len(set(on[2])) > 2
    moved = (on[1] - off[1]).abs().max().item()
    assert 1e-4 < moved < 20 * RATE


@settings(max_examples=20, deadline=None)
@given(power=st.integers(0, 5), seed=st.integers(0, 99))
def test_under_sgd_a_step_is_one_over_the_keep_ratio_times_as_long(power, seed):
    keep = 0.5**power
    on, _ = one_step(keep=keep, seed=seed)
    off, _ = one_step(keep=keep, seed=seed, scale_loss=False)
    assert off.abs().max() > 0
    # The ratio is a power of two: every product is exact.
    assert torch.equal(on, off / keep)


@settings(max_examples=20, deadline=None)
@given(keep=st.floats(0.05, 1))
def test_any_keep_ratio_divides_the_step_up_to_rounding(keep):
    on, _ = one_step(keep=keep)
    off, _ = one_step(keep=keep, scale_loss=False)
    torch.testing.assert_close(on, off / keep, rtol=1e-5, atol=1e-9)


def test_a_clip_that_both_gradients_exceed_makes_the_same_step():
    on, norm = one_step(keep=0.25, clip=1e-3)
    off, plain = one_step(keep=0.25, clip=1e-3, scale_loss=False)
    assert plain > 1e-3
    torch.testing.assert_close(norm, 4 * plain)
    # PyTorch adds 1e-6 to the norm.
    torch.testing.assert_close(on, off, rtol=1e-4, atol=1e-9)
    torch.testing.assert_close(on.norm().item(), 1e-3 * RATE, rtol=1e-4, atol=0)


def test_a_clip_between_the_gradients_takes_part_of_the_factor():
    _, plain = one_step(keep=0.25, scale_loss=False)
    clip = 2 * plain.item()
    on, _ = one_step(keep=0.25, clip=clip)
    off, _ = one_step(keep=0.25, clip=clip, scale_loss=False)
    torch.testing.assert_close(on, 2 * off, rtol=1e-4, atol=1e-9)


def test_under_sgd_a_run_without_the_factor_is_one_of_a_smaller_rate():
    schedule = Constant(0.5, anneal=0)
    on = train(sgd, schedule=schedule)
    off = train(
        lambda weights: torch.optim.SGD(weights, lr=2 * RATE),
        schedule=schedule,
        scale_loss=False,
    )
    assert on[0] == off[0]
    torch.testing.assert_close(on[1], off[1], rtol=1e-12, atol=1e-12)
