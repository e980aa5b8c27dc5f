from __future__ import annotations

import copy

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn
from torch_runs import (
    CLASSES,
    FEATURES,
    cross_entropy,
    labelled,
    opened,
    oracle,
    recorded,
)

N = 24


def norm_net(seed=2):
    """Give four blocks; the third is a batch norm in training mode."""
    torch.manual_seed(seed)
    blocks = [
        nn.Sequential(nn.Linear(FEATURES, 9), nn.Tanh()),
        nn.Linear(9, 7),
        nn.BatchNorm1d(7),
        nn.Sequential(nn.ReLU(), nn.Linear(7, CLASSES)),
    ]
    with torch.no_grad():
        blocks[2].weight.uniform_(0.5, 2)
        blocks[2].bias.normal_()
    return blocks


def cut(blocks, place):
    return nn.Sequential(*blocks[:place]), nn.Sequential(*blocks[place:])


def run(blocks, place, data, size):
    """Record an epoch at a place between the blocks; give the values."""
    ted, (x, y) = opened(data), data.tensors
    before, after = cut(blocks, place)
    for ids in torch.arange(len(x)).split(size):
        h = ted.mask(before(x[ids]), ids=ids)
        ted.loss(cross_entropy(after(h), y[ids]), ids=ids).backward()
    return recorded(ted)


def want(blocks, place, data, size):
    """Give the vector delta's values of the same batches, in float64."""
    x, y = data.tensors
    parts = cut(copy.deepcopy(blocks), place)
    return torch.cat(
        [oracle(*parts, x[ids], y[ids]) for ids in torch.arange(len(x)).split(size)]
    )


@settings(max_examples=20, deadline=None)
@given(
    place=st.integers(0, 4),
    size=st.integers(2, N),
    training=st.booleans(),
    seed=st.integers(0, 99),
)
def test_values_around_batch_norm_are_the_oracles_on_the_same_batch(
    place, size, training, seed
):
    size = size if N % size != 1 else N
    data, blocks = labelled(N, seed=seed), norm_net(seed)
    if not training:
        # The running numbers are those of some data, not of a new layer.
        nn.Sequential(*blocks)(labelled(50, seed=1).tensors[0])
        for block in blocks:
            block.eval()
    expected = want(blocks, place, data, size)
    values = run(blocks, place, data, size)
    torch.testing.assert_close(values, expected, rtol=1e-3, atol=1e-5)


def test_in_training_mode_the_values_before_the_norm_depend_on_the_batch():
    data = labelled(N)
    first, second = (run(norm_net(), 2, data, size) for size in (8, 12))
    assert (first - second).abs().max() > 1e-3


@pytest.mark.parametrize("place", [0, 1, 2, 3, 4])
def test_in_eval_mode_no_site_feels_the_batch(place):
    blocks, data = norm_net(), labelled(N)
    for block in blocks:
        block.eval()
    first, second = (run(blocks, place, data, size) for size in (1, 12))
    torch.testing.assert_close(first, second, rtol=1e-4, atol=1e-5)


def test_a_value_before_the_norm_is_the_slope_of_the_batchs_loss_not_of_its_own():
    data, blocks = labelled(N), norm_net()
    (x, y), (before, after) = data.tensors, cut(copy.deepcopy(blocks), 2)
    before, after = before.double(), after.double()
    h = before(x.double()).detach()
    delta = torch.ones(N, 1, dtype=torch.float64)

    def losses(delta):
        return cross_entropy(after(delta * h), y)

    slopes = torch.autograd.functional.jacobian(losses, delta)[..., 0]
    values = run(blocks, 2, data, N)
    torch.testing.assert_close(
        values, slopes.sum(0).abs().float(), rtol=1e-3, atol=1e-5
    )
    assert (values - slopes.diagonal().abs().float()).abs().max() > 1e-3


def test_running_statistics_are_those_of_a_plain_run():
    data, (ours, theirs) = labelled(N), (norm_net(), norm_net())
    run(ours, 1, data, 8)
    for ids in torch.arange(N).split(8):
        nn.Sequential(*theirs)(data.tensors[0][ids])
    for name in ("running_mean", "running_var", "num_batches_tracked"):
        assert torch.equal(getattr(ours[2], name), getattr(theirs[2], name))


@settings(max_examples=15, deadline=None)
@given(place=st.integers(0, 4), share=st.floats(0.1, 0.75), seed=st.integers(0, 99))
def test_values_under_dropout_are_the_oracles_with_the_same_generator_state(
    place, share, seed
):
    data, first = labelled(N), norm_net()[0]
    # Dropout on the CPU draws the same numbers for float32 and float64.
    blocks = [first, nn.Dropout(share), nn.Linear(9, CLASSES), nn.Dropout(share)]
    torch.manual_seed(seed)
    values = run(blocks, place, data, 8)
    torch.manual_seed(seed)
    expected = want(blocks, place, data, 8)
    torch.testing.assert_close(values, expected, rtol=1e-4, atol=1e-5)
