"""Mathematical facts of the mask: where the sites agree, and what they cannot see."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from array_api_compat import torch as torch_compat
from hypothesis import given, settings
from hypothesis import strategies as st
from oracles import delta as oracle
from torch.nn import functional as F  # noqa: N812 - as everywhere in PyTorch

from ted_core.signals._formulas import pre_activation
from ted_core.signals.mask_gradient import cross_entropy_mask_gradient, mask_gradient

few = settings(max_examples=30, deadline=None)
seeds = st.integers(0, 2**32 - 1)
sizes = st.integers(1, 6)


def normal(seed, *shape):
    return torch.from_numpy(np.random.default_rng(seed).normal(size=shape))


def leaf(tensor):
    return tensor.detach().requires_grad_(True)  # noqa: FBT003 - PyTorch's signature


def classes_of(seed, n, classes):
    return torch.from_numpy(np.random.default_rng(seed + 1).integers(classes, size=n))


def assert_equal(actual, expected):
    torch.testing.assert_close(actual, expected, rtol=1e-8, atol=1e-10)


@few
@given(seed=seeds, n=sizes, classes=sizes)
def test_the_closed_form_is_the_mask_gradient_on_the_logits(seed, n, classes):
    z, y = leaf(3 * normal(seed, n, classes)), classes_of(seed, n, classes)
    (g,) = torch.autograd.grad(F.cross_entropy(z, y, reduction="sum"), z)
    assert_equal(cross_entropy_mask_gradient(z, y), mask_gradient(z, g))


@few
@given(seed=seeds, n=sizes, classes=st.integers(2, 6))
def test_probabilities_score_every_sample_alike_and_their_logits_do_not(
    seed, n, classes
):
    z, y = normal(seed, n, classes), classes_of(seed, n, classes)
    p = leaf(z.softmax(-1))
    (g,) = torch.autograd.grad(F.nll_loss(p.log(), y, reduction="sum"), p)
    assert_equal(-mask_gradient(p, g, signed=True), -torch.ones(n, dtype=z.dtype))
    converted = mask_gradient(*pre_activation(torch_compat, p, g, "softmax"))
    assert_equal(converted, cross_entropy_mask_gradient(z, y))


@few
@given(seed=seeds, n=sizes, outputs=sizes)
def test_sigmoid_outputs_convert_to_the_logits_value(seed, n, outputs):
    z, y = leaf(normal(seed, n, outputs)), (normal(seed + 1, n, outputs) > 0).double()
    loss = F.binary_cross_entropy_with_logits(z, y, reduction="sum")
    (dz,) = torch.autograd.grad(loss, z)
    p = leaf(z.sigmoid())
    (g,) = torch.autograd.grad(F.binary_cross_entropy(p, y, reduction="sum"), p)
    converted = mask_gradient(*pre_activation(torch_compat, p, g, "sigmoid"))
    assert_equal(converted, mask_gradient(z, dz))


def test_saturated_probabilities_give_finite_logits():
    for dtype in (np.float32, np.float64):
        p = np.array([[0.0, 1.0]], dtype)
        for activation in ("softmax", "sigmoid"):
            z, dz = pre_activation(np, p, np.ones_like(p), activation)
            assert z.dtype == dtype
            assert np.isfinite(z).all()
            assert dz.tolist() == [[0, 0]]


@few
@given(seed=seeds, n=sizes, width=sizes, classes=sizes)
def test_a_bias_free_linear_head_has_one_value_before_and_after(
    seed, n, width, classes
):
    h, w = leaf(normal(seed, n, width)), normal(seed + 1, classes, width)
    y = classes_of(seed, n, classes)
    (g,) = torch.autograd.grad(F.cross_entropy(h @ w.T, y, reduction="sum"), h)
    assert_equal(mask_gradient(h, g), cross_entropy_mask_gradient(h @ w.T, y))


@few
@given(seed=seeds, n=sizes, width=sizes)
def test_every_site_of_a_bias_free_relu_net_has_the_same_value(seed, n, width):
    sites = [leaf(normal(seed, n, width))]
    for layer in range(3):
        w = normal(seed + layer + 1, width, width)
        sites.append(torch.relu(sites[-1] @ w.T))
    sites.append(sites[-1] @ normal(seed + 9, 3, width).T)
    loss = F.cross_entropy(sites[-1], classes_of(seed, n, 3), reduction="sum")
    values = [
        mask_gradient(h, g)
        for h, g in zip(sites, torch.autograd.grad(loss, sites), strict=True)
    ]
    for value in values[:-1]:
        assert_equal(value, values[-1])


@few
@given(m=st.floats(-30, 30), offset=st.floats(-5, 5))
def test_two_classes_score_by_their_margin_alone(m, offset):
    z = np.array([[offset + m, offset]])
    value = cross_entropy_mask_gradient(z, np.array([0]))
    np.testing.assert_allclose(value, abs(m) / (1 + np.exp(m)), rtol=1e-9, atol=1e-12)


def test_the_decision_boundary_scores_zero_and_solved_samples_peak_at_0_278():
    m = np.linspace(0, 6, 6001)
    z = np.stack([m, np.zeros_like(m)], axis=1)
    value = cross_entropy_mask_gradient(z, np.zeros(m.size, np.int64))
    assert value[0] == 0
    assert value.max() == pytest.approx(0.278, abs=5e-4)
    assert m[value.argmax()] == pytest.approx(1.28, abs=5e-3)


@few
@given(z=st.floats(-9, 9), y=st.floats(-9, 9))
def test_a_squared_error_scores_by_the_size_of_its_output_too(z, y):
    output = leaf(torch.tensor([[z]], dtype=torch.float64))
    (g,) = torch.autograd.grad(((output - y) ** 2).sum(), output)
    assert_equal(mask_gradient(output, g), abs(2 * output.detach()[:, 0] * (z - y)))


def test_a_badly_wrong_small_output_scores_next_to_nothing_under_squared_error():
    z, y = np.array([[0.01]]), 3.0
    assert ((z - y) ** 2).item() == pytest.approx(8.9, abs=0.05)
    assert mask_gradient(z, 2 * (z - y)).item() == pytest.approx(0.06, abs=5e-4)


@few
@given(seed=seeds, n=sizes)
def test_a_mask_before_layer_norm_has_next_to_no_gradient(seed, n):
    h = leaf(normal(seed, n, 8))
    z = F.layer_norm(h, (8,)) @ normal(seed + 1, 8, 3)
    loss = F.cross_entropy(z, classes_of(seed, n, 3), reduction="sum")
    (g,) = torch.autograd.grad(loss, h)
    cosine = mask_gradient(h, g) / (h.norm(dim=1) * g.norm(dim=1) + 1e-30)
    assert float(cosine.detach().max()) < 1e-3
    assert float(mask_gradient(h, g).max()) < 1e-2


@few
@given(seed=seeds, n=st.integers(3, 6))
def test_upstream_of_batch_norm_the_value_is_that_of_the_batchs_loss(seed, n):
    h, w = leaf(normal(seed, n, 4)), normal(seed + 1, 4, 3)
    y = classes_of(seed, n, 3)

    def losses(x):
        z = F.batch_norm(x, None, None, training=True) @ w
        return F.cross_entropy(z, y, reduction="none")

    def masked(delta):
        return losses(h.detach() * torch.from_numpy(delta)[:, None])

    (g,) = torch.autograd.grad(losses(h).mean(), h)
    c = torch.full((n,), 1 / n, dtype=torch.float64)
    value = mask_gradient(h, g, loss_gradient=c, signed=True)
    of_batch = oracle.delta_derivative(lambda d: float(masked(d).sum()), n, lam=1e-6)
    np.testing.assert_allclose(-value, of_batch, rtol=1e-4, atol=1e-4)


def test_upstream_of_batch_norm_the_value_is_not_that_of_the_samples_own_loss():
    h, w, y = leaf(normal(0, 5, 4)), normal(1, 4, 3), classes_of(0, 5, 3)

    def losses(x):
        z = F.batch_norm(x, None, None, training=True) @ w
        return F.cross_entropy(z, y, reduction="none")

    (g,) = torch.autograd.grad(losses(h).sum(), h)
    own = [
        oracle.delta_derivative(
            lambda d, k=k: float(losses(h.detach() * torch.from_numpy(d)[:, None])[k]),
            5,
        )[k]
        for k in range(5)
    ]
    assert np.abs(-mask_gradient(h, g, signed=True).numpy() - own).max() > 1e-2


@few
@given(seed=seeds, n=sizes, tokens=sizes)
def test_a_sequences_value_is_that_of_the_mean_loss_of_its_tokens(seed, n, tokens):
    z = leaf(normal(seed, n, tokens, 3))
    y = classes_of(seed, (n, tokens), 3)
    y[normal(seed + 2, n, tokens) > 0] = -100
    losses = F.cross_entropy(z.mT, y, reduction="none", ignore_index=-100)
    per_sample = losses.sum(1) / (y != -100).sum(1).clamp(min=1)
    (g,) = torch.autograd.grad(per_sample.sum(), z)
    value = cross_entropy_mask_gradient(z, y, ignore_index=-100)
    assert_equal(value, mask_gradient(z, g, token_mask=y != -100))
    assert (value[(y == -100).all(dim=1)] == 0).all()
