from __future__ import annotations

import warnings

import pytest
import torch
from ted_torch import TED
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


def test_a_mask_of_all_log_probabilities_of_texts_is_warned_of():
    # So many that a part of the tokens is looked at.
    ted, ids = opened(labelled(N)), torch.arange(N)
    z = torch.randn(N, 8, 1 << 15, requires_grad=True).log_softmax(-1)
    losses = -z[..., 0]
    ted.loss(losses, mask=z, ids=ids).backward()
    with pytest.warns(TedWarning, match="not log-probabilities as in epoch 0"):
        ted.set_epoch(1)


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


def bce(logits, y, **given):
    """Take a step with the mask on a sigmoid's outputs, and close the epoch."""
    ted = opened(labelled(len(y)))
    p = logits.requires_grad_().sigmoid()
    losses = F.binary_cross_entropy(p, y, reduction="none")
    ted.loss(losses, mask=p, ids=torch.arange(len(y)), **given).backward()
    with pytest.warns(TedWarning, match="logits, not sigmoid outputs as in epoch 0"):
        ted.set_epoch(1)
    return p.detach(), torch.from_numpy(ted.pruner.scores)


@pytest.mark.parametrize("shape", [(), (1,), (3,), (1, 4, 4)], ids=str)
def test_a_mask_of_sigmoid_outputs_is_warned_of(shape):
    torch.manual_seed(0)
    y = torch.randint(0, 2, (N, *shape)).float()
    p, scores = bce(3 * torch.randn(N, *shape), y)
    # What the warning says is so.
    each = torch.where(y == 1, -1.0, p / (1 - p)).reshape(N, -1).mean(1).abs()
    torch.testing.assert_close(scores, each, rtol=1e-4, atol=1e-5)


def test_a_mask_of_sigmoid_outputs_is_known_with_weights_and_where_it_saturates():
    torch.manual_seed(0)
    y = torch.randint(0, 2, (N, 3)).float()
    logits = 3 * torch.randn(N, 3)
    logits[3], logits[4] = 200.0, -200.0
    bce(logits, y, weights=torch.linspace(0, 2, N))


KINDS = ["hidden", "one number", "squares", "chosen", "zeros", "product"]


@pytest.mark.parametrize("kind", KINDS)
def test_a_mask_between_0_and_1_that_is_no_output_is_not(kind):
    torch.manual_seed(0)
    n = 1 if kind == "one number" else N  # which says nothing
    (x, y), ids = labelled(n).tensors, torch.arange(n)
    ted = opened(labelled(n))
    p = nn.Linear(6, 4)(0 * x if kind == "zeros" else x).sigmoid()
    if kind == "hidden":
        losses = cross_entropy(nn.Linear(4, 4)(p), y)
    elif kind == "one number":
        p = p[:, :1]
        losses = -p.log()
    elif kind == "product":  # as the area of a box
        losses = 4 - p[:, :2].prod(1)
    elif kind == "chosen":
        losses = (p.gather(1, y[:, None])[:, 0] - 0.5).square()
    else:
        losses = (p - F.one_hot(y, 4)).square().mean(1)
    ted.loss(losses, mask=p, ids=ids).backward()
    ted.set_epoch(1)  # a warning would be an error


@pytest.mark.parametrize("method", ["soft_margin", "importance"])
def test_probabilities_given_as_logits_are_warned_of_whatever_the_method(method):
    data, net = labelled(N), nn.Linear(6, 4)
    ted = TED(data, epochs=5, prune_ratio=0.5, method=method)
    x, y = data.tensors
    for epoch, last in enumerate((nn.Identity(), nn.LogSoftmax(1), nn.Softmax(1))):
        ted.set_epoch(epoch)  # a warning of the first two would be an error
        ids = torch.tensor(list(ted.sampler))
        out = last(net(x[ids]))
        losses = cross_entropy(net(x[ids]), y[ids])
        ted.loss(losses, logits=out, labels=y[ids], ids=ids).backward()
    with pytest.warns(TedWarning, match="logits, not probabilities as in epoch 2"):
        ted.set_epoch(3)
    ids = torch.tensor(list(ted.sampler))
    z = net(x[ids])
    losses = cross_entropy(z, y[ids])
    ted.loss(losses, logits=z.softmax(1), labels=y[ids], ids=ids).backward()
    ted.set_epoch(4)  # once a run: a second warning would be an error


@pytest.mark.parametrize("method", ["soft_margin", "importance"])
def test_a_signal_of_classes_is_refused_for_several_labels_a_sample(method):
    data = labelled(N)
    z, y = torch.randn(N, 3, requires_grad=True), torch.randint(0, 2, (N, 3)).float()
    losses = F.binary_cross_entropy_with_logits(z, y, reduction="none")
    ted = TED(data, epochs=5, prune_ratio=0.5, method=method)
    ted.set_epoch(0)
    said = r"classes, shape \(B, C\), got a loss for each output.*method='ted'"
    with pytest.raises(ValueError, match=said):
        ted.loss(losses, logits=z, labels=y, ids=torch.arange(N))
    ted = TED(data, epochs=5, prune_ratio=0.5, method="random")
    ted.set_epoch(0)
    ted.loss(losses, logits=z, labels=y, ids=torch.arange(N)).backward()


def test_a_first_step_without_gradients_is_no_symptom():
    data = labelled(N)
    ted = opened(data)
    z = torch.zeros(N, 4, requires_grad=True) * 1
    ted.loss((z * 0).sum(1), mask=z, ids=torch.arange(N)).backward()
    ted.set_epoch(1)
