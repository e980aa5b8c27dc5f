"""The mask gradient agrees with the paper's Eq. 12 on every array library."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import array_api_strict
import jax.numpy as jnp
import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from oracles import delta as oracle

from ted_core.signals.mask_gradient import (
    cross_entropy_mask_gradient,
    mask_gradient,
    segment_mask_gradient,
)

few = settings(max_examples=30, deadline=None)
seeds = st.integers(0, 2**32 - 1)
LIBRARIES: dict[str, Callable[[Any], Any]] = {
    "numpy": np.asarray,
    "torch": lambda a: torch.from_numpy(np.array(a)),
    "jax": jnp.asarray,
    "array-api-strict": array_api_strict.asarray,
}


@pytest.fixture(params=LIBRARIES, scope="module")
def to(request: pytest.FixtureRequest) -> Callable[[Any], Any]:
    """Return what makes an array of one library from a NumPy array."""
    return LIBRARIES[request.param]


def one_of(to, seed, drawn, *fixed):
    """Return the drawn sizes; one of two for JAX, which compiles every shape anew."""
    return fixed[seed % 2] if to is jnp.asarray else drawn


def to_numpy(array: Any) -> Any:
    if isinstance(array, torch.Tensor):
        array = array.float() if array.dtype is torch.bfloat16 else array
    return np.asarray(array)


def close(actual: Any, expected: Any, *, rtol: float = 1e-4) -> None:
    np.testing.assert_allclose(to_numpy(actual), expected, rtol=rtol, atol=rtol)


@few
@given(seed=seeds, shape=st.lists(st.integers(0, 4), min_size=1, max_size=4))
def test_the_value_is_the_magnitude_of_each_samples_inner_product(to, seed, shape):
    shape = one_of(to, seed, shape, (3,), (2, 3, 4))
    h, g = np.random.default_rng(seed).normal(size=(2, *shape)).astype(np.float32)
    expected = oracle.inner_products(h, g)
    value = mask_gradient(to(h), to(g))
    assert type(value) is type(to(h))
    assert value.shape == (shape[0],)
    close(value, abs(expected))
    close(mask_gradient(to(h), to(g), signed=True), -expected)


@few
@given(seed=seeds, n=st.integers(0, 5))
def test_what_multiplies_the_loss_is_divided_out(to, seed, n):
    n = one_of(to, seed, n, 1, 4)
    rng = np.random.default_rng(seed)
    h, g = rng.normal(size=(2, n, 3)).astype(np.float32)
    c = rng.choice([-4, 1 / 128, 3, 65536], size=n).astype(np.float32)
    scaled = mask_gradient(to(h), to(g * c[:, None]), loss_gradient=to(c), signed=True)
    close(scaled, -oracle.inner_products(h, g))


def test_a_sample_whose_loss_has_no_gradient_was_not_observed(to):
    ones = to(np.ones((2, 3), np.float32))
    c = to(np.array([0, 2], np.float32))
    close(mask_gradient(ones, ones, loss_gradient=c), [np.nan, 1.5])


def test_a_not_finite_sample_stays_alone(to):
    h = np.ones((3, 2), np.float32)
    h[1] = np.inf, -np.inf
    close(mask_gradient(to(h), to(np.ones((3, 2), np.float32))), [2, np.nan, 2])


@few
@given(seed=seeds)
def test_masked_tokens_contribute_nothing(to, seed):
    rng = np.random.default_rng(seed)
    h, g = rng.normal(size=(2, 3, 4, 2)).astype(np.float32)
    used = rng.random((3, 4)) < 0.6
    expected = abs(oracle.inner_products(h * used[..., None], g))
    h[~used] = np.nan
    for mask in (used, used.astype(np.int32)):
        close(mask_gradient(to(h), to(g), token_mask=to(mask)), expected)


@few
@given(seed=seeds, rows=st.integers(0, 3), count=st.integers(0, 4))
def test_packed_samples_get_the_sum_over_their_own_tokens(to, seed, rows, count):
    rows, count = one_of(to, seed, (rows, count), (1, 2), (3, 4))
    rng = np.random.default_rng(seed)
    h, g = rng.normal(size=(2, rows, 5, 2)).astype(np.float32)
    ids = rng.integers(-1, count + 1, size=(rows, 5)).astype(np.int32)
    expected = oracle.segment_products(h, g, ids, count)
    h[(ids < 0) | (ids >= count)] = np.nan
    value = segment_mask_gradient(to(h), to(g), to(ids), count)
    close(value, abs(expected))
    c = np.full(count, 0.25, np.float32)
    value = segment_mask_gradient(
        to(h), to(g), to(ids), count, loss_gradient=to(c), signed=True
    )
    close(value, -4 * expected)


def one_hot(labels: Any, classes: int) -> Any:
    return (labels[..., None] == np.arange(classes)).astype(np.float64)


def by_delta(z: Any, y: Any, valid: Any) -> Any:
    z = z.astype(np.float64)
    return oracle.delta_derivative(
        lambda d: oracle.cross_entropy(z * d[:, None, None], y, valid), len(z)
    )


@settings(max_examples=20, deadline=None)
@given(
    seed=seeds,
    n=st.sampled_from([0, 1, 3]),
    tokens=st.integers(1, 2),
    classes=st.sampled_from([1, 2, 5]),
    smoothing=st.sampled_from([0.0, 0.1, 0.9]),
    ignore=st.sampled_from([None, -100, 0]),
)
def test_the_closed_form_is_the_derivative_in_delta(  # noqa: PLR0917 - drawn
    to, seed, n, tokens, classes, smoothing, ignore
):
    drawn = n, tokens, classes
    n, tokens, classes = one_of(to, seed, drawn, (1, 1, 2), (3, 2, 5))
    rng = np.random.default_rng(seed)
    z = 3 * rng.normal(size=(n, tokens, classes)).astype(np.float32)
    labels = rng.integers(0, classes, size=(n, tokens))
    if ignore == -100:
        labels[rng.random((n, tokens)) < 0.5] = ignore
    valid = labels != ignore
    y = (1 - smoothing) * one_hot(labels, classes) + smoothing / classes
    expected = by_delta(z, y, valid)
    options = {"label_smoothing": smoothing, "ignore_index": ignore}
    given_labels = to(labels.astype(np.int32))
    value = cross_entropy_mask_gradient(to(z), given_labels, **options)
    close(value, abs(expected))
    signed = cross_entropy_mask_gradient(to(z), given_labels, **options, signed=True)
    close(signed, -expected)


@few
@given(seed=seeds, smoothing=st.sampled_from([0.0, 0.3]))
def test_soft_labels_need_not_sum_to_one_and_zeros_are_ignored(to, seed, smoothing):
    rng = np.random.default_rng(seed)
    z = rng.normal(size=(3, 2, 3)).astype(np.float32)
    labels = rng.random(size=(3, 2, 3)).astype(np.float32)
    labels[rng.random((3, 2)) < 0.3] = 0
    total = labels.sum(-1, keepdims=True)
    y = (1 - smoothing) * labels + smoothing / 3 * total
    value = cross_entropy_mask_gradient(to(z), to(labels), label_smoothing=smoothing)
    close(value, abs(by_delta(z, y.astype(np.float64), total[..., 0] > 0)))


@pytest.mark.parametrize("dtype", [np.uint8, np.int8, np.int16, np.int32])
def test_indices_of_any_width_and_one_hot_labels_agree(to, dtype):
    z = np.random.default_rng(0).normal(size=(4, 300)).astype(np.float32)
    labels = np.array([0, 5, 100, 127])
    value = cross_entropy_mask_gradient(to(z), to(labels.astype(dtype)))
    for kind in (np.float32, np.int32, np.bool_):
        hot = to(one_hot(labels, 300).astype(kind))
        close(cross_entropy_mask_gradient(to(z), hot), to_numpy(value))


def test_a_class_that_does_not_exist_gives_nan_for_its_own_sample(to):
    z = to(np.array([[1, 2], [1, 2], [0, 1], [1, 2]], np.float32))
    labels = to(np.array([2, -1, 0, -100], np.int32))
    value = cross_entropy_mask_gradient(z, labels, ignore_index=-100)
    close(value, [np.nan, np.nan, 0.731059, 0])


def test_classes_masked_out_with_minus_infinity_do_not_count(to):
    z = np.array([[1, 2, -np.inf]], np.float32)
    full = cross_entropy_mask_gradient(to(z), to(np.array([0], np.int32)))
    part = cross_entropy_mask_gradient(to(z[:, :2]), to(np.array([0], np.int32)))
    close(full, to_numpy(part))


def test_huge_logits_neither_overflow_nor_lose_digits_to_their_offset(to):
    z = np.array([[2.0, 0.0, -1.0]], np.float32)
    labels = to(np.array([1], np.int32))
    expected = to_numpy(cross_entropy_mask_gradient(to(z), labels))
    close(cross_entropy_mask_gradient(to(z + 4096), labels), expected, rtol=1e-6)
    close(cross_entropy_mask_gradient(to(z * 1e30), labels), [2e30])
