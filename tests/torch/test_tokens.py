from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import example, given, settings
from hypothesis import strategies as st
from ted_torch._losses import per_sample
from torch import nn
from torch.nn import functional as F  # noqa: N812
from torch_runs import opened, recorded

from ted_core import mask_gradient

WORDS, WIDTH = 7, 5
IGNORED = -100


class Sequences(torch.utils.data.Dataset):
    def __init__(self, lengths):
        generator = torch.Generator().manual_seed(1)
        self.tokens = torch.randint(
            0, WORDS, (len(lengths), max(lengths) + 1), generator=generator
        )
        labels = self.tokens.roll(-1, 1)
        for row, length in enumerate(lengths):
            labels[row, length:] = IGNORED
        self.labels = labels

    def __len__(self):
        return len(self.tokens)

    def __getitem__(self, index):
        return self.tokens[index], self.labels[index]


def token_losses(z, labels):
    return F.cross_entropy(
        z.flatten(0, 1), labels.flatten(), reduction="none", ignore_index=IGNORED
    ).view(labels.shape)


@settings(deadline=None)
@given(lengths=st.lists(st.integers(0, 6), min_size=2, max_size=9).filter(any))
@example(lengths=[0, 1])
def test_a_sequences_value_is_that_of_its_mean_over_tokens_that_count(lengths):
    data = Sequences(lengths)
    torch.manual_seed(2)
    embed, head = nn.Embedding(WORDS, WIDTH), nn.Linear(WIDTH, WORDS, bias=False)
    ted, ids = opened(data), torch.arange(len(lengths))
    h = embed(data.tokens)
    losses = token_losses(head(h), data.labels)
    valid = data.labels != IGNORED
    total = ted.loss(losses, mask=h, ids=ids, valid=valid)
    total.backward()
    want, want_losses = [], []
    for row, length in enumerate(lengths):
        one = embed(data.tokens[row, :length]).detach().double().requires_grad_()
        loss = one.sum() * 0
        if length:  # without a token that counts there is no value
            z = one @ head.weight.double().T
            loss = F.cross_entropy(z, data.labels[row, :length])
        (slope,) = torch.autograd.grad(loss, one)
        value = (one * slope).sum().abs().item()
        want.append(value if length else np.nan)
        want_losses.append(loss.item())
    np.testing.assert_allclose(total.item(), np.mean(want_losses), rtol=1e-5)
    np.testing.assert_allclose(recorded(ted), want, rtol=1e-4, atol=1e-7)


def test_a_sequence_of_ignored_tokens_alone_has_weight_zero_and_ranks_last():
    data = Sequences([4, 0])
    torch.manual_seed(2)
    model = nn.Sequential(nn.Embedding(WORDS, WIDTH), nn.Linear(WIDTH, WORDS))
    ted = opened(data)
    z = model(data.tokens)
    valid = data.labels != IGNORED
    losses = token_losses(z, data.labels)
    ted.loss(losses, mask=z, ids=torch.arange(2), valid=valid).backward()
    ted.set_epoch(1)
    assert ted.pruner.update_counts.tolist() == [1, 0]
    assert ted.report().weightless.tolist() == [1]
    assert ted.pruner.plan().order.tolist() == [0]


def test_padding_gives_no_gradient_even_where_its_loss_is_not_finite():
    losses = torch.tensor([[1.0, torch.inf], [torch.nan, 3.0]], requires_grad=True)
    valid = torch.tensor([[True, False], [False, True]])
    means = per_sample(losses, valid=valid)
    assert means.tolist() == [1.0, 3.0]
    means.sum().backward()
    assert losses.grad.tolist() == [[1.0, 0.0], [0.0, 1.0]]


@pytest.mark.parametrize(
    ("valid", "error", "says"),
    [
        (torch.ones(2, 3), TypeError, "must be a bool tensor, got torch.float32"),
        ([[True]], TypeError, "must be a bool tensor, got list"),
        (
            torch.ones(2, dtype=torch.bool),
            ValueError,
            r"shape \(2, 3\), got shape \(2,\)",
        ),
    ],
)
def test_a_valid_that_does_not_fit_is_refused(valid, error, says):
    with pytest.raises(error, match=f"`valid` {says}" if error is TypeError else says):
        per_sample(torch.ones(2, 3), valid=valid)


def test_values_agree_with_the_core_for_padded_sequences():
    data = Sequences([3, 5, 1])
    torch.manual_seed(2)
    model = nn.Sequential(nn.Embedding(WORDS, WIDTH), nn.Linear(WIDTH, WORDS))
    z = model(data.tokens).detach().requires_grad_()
    valid = data.labels != IGNORED
    means = per_sample(token_losses(z, data.labels), valid=valid)
    (gradient,) = torch.autograd.grad(means.sum(), z)
    ted = opened(data)
    ted.loss(
        token_losses(z, data.labels), mask=z, ids=torch.arange(3), valid=valid
    ).backward()
    torch.testing.assert_close(recorded(ted), mask_gradient(z.detach(), gradient))
