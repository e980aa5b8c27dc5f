from __future__ import annotations

import warnings

import pytest
import torch
from torch import nn
from torch.nn import functional as F  # noqa: N812
from torch_runs import cross_entropy, labelled, opened

from ted_core import TedWarning

N = 20


def step(ted, layers, y, ids, scale=1.0):
    """Train one step with the mask before the last layer."""
    *before, after = layers
    h = nn.Sequential(*before)(ted.dataset.dataset.tensors[0])
    ted.loss(cross_entropy(after(h), y) * scale, mask=h, ids=ids).backward()


@pytest.mark.parametrize("norm", [nn.LayerNorm, nn.RMSNorm])
@pytest.mark.parametrize("scale", [1.0, 1e12, 1e-20])
def test_a_mask_that_feeds_a_norm_alone_is_warned_of(norm, scale):
    torch.manual_seed(0)
    data = labelled(N)
    ted = opened(data)
    head = nn.Sequential(norm(9, eps=1e-12), nn.Linear(9, 4))
    step(ted, [nn.Linear(6, 9), head], data.tensors[1], torch.arange(N), scale)
    with pytest.warns(TedWarning, match="`mask` should not feed a normalisation layer"):
        ted.set_epoch(1)


@pytest.mark.parametrize("before", [True, False])
def test_a_mask_after_the_norm_or_before_a_sum_is_not(before):
    torch.manual_seed(0)
    data = labelled(N)
    ted, y, ids = opened(data), data.tensors[1], torch.arange(N)
    h = nn.Linear(6, 9)(data.tensors[0])
    norm, head = nn.LayerNorm(9), nn.Linear(9, 4)
    mask = h if before else norm(h)
    z = head(norm(h + torch.arange(9.0)) if before else mask)
    ted.loss(cross_entropy(z, y), mask=mask, ids=ids).backward()
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        ted.set_epoch(1)


@pytest.mark.parametrize("shape", [(), (3,)], ids=["rows", "pixels"])
def test_a_mask_of_log_probabilities_is_warned_of_for_it_scores_the_loss(shape):
    torch.manual_seed(0)
    y = torch.randint(0, 4, (N, *shape))
    ted, ids = opened(labelled(N)), torch.arange(N)
    logits = torch.randn(N, 4, *shape, requires_grad=True)
    z = logits.log_softmax(1)
    losses = F.nll_loss(z, y, reduction="none")
    ted.loss(losses, mask=z, ids=ids).backward()
    with pytest.warns(TedWarning, match="not log-probabilities as in epoch 0: .*loss"):
        ted.set_epoch(1)
    # What the warning says is so.
    losses = losses.detach().flatten(1).mean(1) if shape else losses.detach()
    torch.testing.assert_close(torch.from_numpy(ted.pruner.scores), losses)


def test_a_mask_of_probabilities_is_warned_of():
    data = labelled(N)
    x, y = data.tensors
    torch.manual_seed(0)
    net = nn.Linear(6, 4)
    ted = opened(data)
    p = net(x).softmax(1)
    losses = -p.log()[torch.arange(N), y]
    ted.loss(losses, mask=p, ids=torch.arange(N)).backward()
    with pytest.warns(TedWarning, match="logits, not probabilities as in epoch 0"):
        ted.set_epoch(1)
    # What the warning says is so.
    torch.testing.assert_close(torch.from_numpy(ted.pruner.scores), torch.ones(N))


def test_a_first_step_without_gradients_is_no_symptom():
    data = labelled(N)
    ted = opened(data)
    z = torch.zeros(N, 4, requires_grad=True) * 1
    ted.loss((z * 0).sum(1), mask=z, ids=torch.arange(N)).backward()
    ted.set_epoch(1)
