from __future__ import annotations

import re

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from oracles import delta, vector_delta
from ted_torch import segment_losses, segment_mask
from torch import nn
from torch.nn import functional as F  # noqa: N812
from torch_runs import opened, recorded

from ted_core import segment_mask_gradient

WIDTH, WORDS = 5, 7


def rows(seed, count, shape=(3, 6)):
    """Give hidden states and segments; some tokens are padding, some samples empty."""
    generator = torch.Generator().manual_seed(seed)
    hidden = torch.randn(*shape, WIDTH, generator=generator)
    return hidden, torch.randint(-1, count, shape, generator=generator)


def packed(lengths, width):
    """Give the segments of rows that hold samples of these lengths one by one."""
    filled, out = width, []
    for sample, length in enumerate(lengths):
        if filled + length > width:
            out.append([-1] * width)
            filled = 0
        out[-1][filled : filled + length] = [sample] * length
        filled += length
    return torch.tensor(out)


@settings(deadline=None)
@given(seed=st.integers(0, 99), count=st.integers(1, 8))
def test_the_masks_gradient_is_the_sum_over_each_samples_tokens(seed, count):
    hidden, segments = rows(seed, count)
    gradient = torch.randn(hidden.shape, generator=torch.Generator().manual_seed(seed))
    hidden.requires_grad_()
    out, masks = segment_mask(hidden, segments, count)
    (out * gradient).sum().backward()
    h = hidden.detach().double().numpy()
    g = gradient.double().numpy()
    want = delta.segment_products(h, g, segments.numpy(), count)
    np.testing.assert_allclose(masks.grad, want, rtol=1e-5, atol=1e-5)
    core = segment_mask_gradient(hidden.detach(), gradient, segments, count)
    torch.testing.assert_close(masks.grad.abs(), core)
    torch.testing.assert_close(hidden.grad, gradient)


@settings(deadline=None)
@given(lengths=st.lists(st.integers(1, 6), min_size=2, max_size=9))
def test_packed_rows_bring_the_scores_of_a_loop_over_sequences(lengths):
    torch.manual_seed(0)
    count, head = len(lengths), nn.Linear(WIDTH, WORDS)
    sequences = [torch.randn(length, WIDTH) for length in lengths]
    targets = [torch.randint(0, WORDS, (length,)) for length in lengths]
    segments = packed(lengths, 6)
    hidden = torch.zeros(*segments.shape, WIDTH)
    labels = torch.zeros(segments.shape, dtype=torch.int64)
    for sample in range(count):
        hidden[segments == sample] = sequences[sample]
        labels[segments == sample] = targets[sample]
    ted = opened(range(count))
    out, masks = segment_mask(hidden.requires_grad_(), segments, count)
    losses = F.cross_entropy(head(out).mT, labels, reduction="none")
    means = segment_losses(losses, segments, count)
    ted.loss(means, mask=masks, ids=torch.arange(count)).backward()
    weight, bias = head.weight.double(), head.bias.double()

    def loss(h, y):
        return F.cross_entropy(F.linear(h[0], weight, bias), y).reshape(1)

    for sample, score in enumerate(recorded(ted)):
        one, y = sequences[sample], targets[sample]
        (want,) = vector_delta.values(nn.Identity(), nn.Identity(), loss, one[None], y)
        torch.testing.assert_close(score.double(), want, rtol=1e-4, atol=1e-6)
        torch.testing.assert_close(means[sample], F.cross_entropy(head(one), y))


def test_losses_that_do_not_count_are_left_out_even_where_they_are_not_finite():
    losses = torch.tensor([[1.0, torch.nan, 4.0, torch.inf]], requires_grad=True)
    segments = torch.tensor([[0, 0, 1, -1]])
    valid = torch.tensor([[True, False, True, True]])
    means = segment_losses(losses, segments, 3, valid=valid)
    assert means.tolist() == [1.0, 4.0, 0.0]
    means.sum().backward()
    assert losses.grad.tolist() == [[1.0, 0.0, 1.0, 0.0]]


def test_half_precision_adds_up_in_single_precision():
    hidden = torch.ones(1, 3000, 1, dtype=torch.bfloat16, requires_grad=True)
    segments = torch.zeros(1, 3000, dtype=torch.int32)
    out, masks = segment_mask(hidden, segments, 1)
    out.float().sum().backward()
    assert masks.grad.tolist() == [3000.0]
    losses = torch.full((1, 3000), 3.0, dtype=torch.bfloat16)
    assert segment_losses(losses, segments, 1).tolist() == [3.0]


def test_no_rows_and_no_samples_are_a_batch_too():
    out, masks = segment_mask(torch.ones(0, 4, 2), torch.ones(0, 4).int(), 0)
    assert out.shape == (0, 4, 2)
    assert masks.shape == (0,)


def test_numbers_changed_in_place_after_the_mask_are_refused():
    out, _ = segment_mask(torch.ones(1, 2, 1), torch.zeros(1, 2).long(), 1)
    total = (2 * out).sum()
    with torch.no_grad():
        out.add_(1)
    with pytest.raises(RuntimeError, match="modified by an inplace operation"):
        total.backward()


H, S = torch.ones(2, 3, 4), torch.zeros(2, 3).long()
REFUSED = [
    (lambda: segment_mask(H.long(), S, 1), TypeError, "`hidden`.*torch.int64"),
    (lambda: segment_mask(H, S.float(), 1), TypeError, "`segments`.*torch.float32"),
    (lambda: segment_mask(H, S[:1], 1), ValueError, r"(R, T) of `hidden`, (2, 3)"),
    (lambda: segment_mask(H, S + 2, 2), ValueError, "[-1, 2), got 2"),
    (lambda: segment_mask(H, S - 2, 2), ValueError, "[-1, 2), got -2"),
    (lambda: segment_mask(H, S, 1.0), TypeError, "`count`.*got 1.0"),
    (lambda: segment_losses(S, S, 1), TypeError, "`losses`.*torch.int64"),
    (lambda: segment_losses(H, S, 1), ValueError, r"(R, T) of `losses`"),
    (
        lambda: segment_losses(H[..., 0], S, 1, valid=H[..., 0]),
        TypeError,
        "`valid`.*torch.float32",
    ),
    (
        lambda: segment_losses(H[..., 0], S, 1, valid=S[:1] == 0),
        ValueError,
        "`valid` must have shape (2, 3), got shape (1, 3)",
    ),
]


@pytest.mark.parametrize(("call", "error", "says"), REFUSED)
def test_what_does_not_fit_is_refused_by_name(call, error, says):
    pattern = ".*".join(re.escape(part) for part in says.split(".*"))
    with pytest.raises(error, match=pattern):
        call()
