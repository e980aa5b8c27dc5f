from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from ted_torch import TED
from torch import nn
from torch_runs import cross_entropy, labelled, opened, recorded

N = 20


def levels(count):
    torch.manual_seed(count)
    return nn.ModuleList(nn.Linear(6, 4) for _ in range(count)).double()


def joint(nets, x, y):
    """Give |d l_k / d delta_k| of one delta that multiplies every level, float64."""
    delta = torch.ones(N, dtype=torch.float64, requires_grad=True)
    z = sum((delta[:, None] * net(x.double())).tanh() for net in nets)
    (slope,) = torch.autograd.grad(cross_entropy(z, y).sum(), delta)
    return slope.abs().float()


def step(ted, nets, x, y, ids, *, early):
    h = [net(x.double()) for net in nets]
    if early:
        h = ted.mask(h, ids=ids)
    z = sum(part.tanh() for part in h)
    return ted.loss(cross_entropy(z, y), mask=None if early else h, ids=ids)


@settings(deadline=None)
@given(count=st.integers(1, 4), early=st.booleans(), backwards=st.integers(1, 3))
def test_one_mask_at_several_tensors_is_one_delta(count, early, backwards):
    data, nets = labelled(N), levels(count)
    ted, (x, y) = opened(data), data.tensors
    for ids in torch.arange(N).split(8):
        total = step(ted, nets, x[ids], y[ids], ids, early=early)
        for _ in range(backwards):
            total.backward(retain_graph=True)
    torch.testing.assert_close(recorded(ted), joint(nets, x, y), rtol=1e-5, atol=1e-7)


@pytest.mark.parametrize("count", [1, 3])
def test_a_compiled_step_with_several_masks_gives_the_same_values(count):
    torch.compiler.reset()
    data, nets = labelled(N), levels(count)
    ted, (x, y) = opened(data), data.tensors
    whole = torch.compile(step, fullgraph=True, backend="aot_eager")
    whole(ted, nets, x, y, torch.arange(N), early=False).backward()
    torch.testing.assert_close(recorded(ted), joint(nets, x, y), rtol=1e-5, atol=1e-7)
    torch.compiler.reset()


def test_a_level_that_the_loss_ignores_adds_nothing():
    data, nets = labelled(N), levels(2)
    (x, y), scores = data.tensors, []
    for extra in (False, True):
        ted = opened(data)
        h = nets[0](x.double())
        masks = [h, nets[1](x.double())] if extra else h
        losses = cross_entropy(h.tanh(), y)
        ted.loss(losses, mask=masks, ids=torch.arange(N)).backward()
        scores.append(recorded(ted))
    assert torch.equal(*scores)


@pytest.mark.parametrize("masks", [[], (), "logits", {}])
def test_masks_that_are_no_list_of_tensors_are_refused(masks):
    ted = TED(labelled(N), epochs=5)
    ted.set_epoch(0)
    z = torch.ones(2, 4, requires_grad=True) * 1
    with pytest.raises(TypeError, match="`mask` must be a floating-point tensor, or"):
        ted.loss(z.sum(1), mask=masks, ids=torch.arange(2))


def test_masks_of_different_sizes_are_refused():
    ted = opened(labelled(N))
    z = torch.ones(2, 4, requires_grad=True) * 1
    with pytest.raises(ValueError, match=r"`hidden` must have shape \(2, ...\)"):
        ted.mask([z, z[:1]], ids=torch.arange(2))
