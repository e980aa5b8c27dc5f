"""The signals agree with their papers' equations on every array library."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import array_api_strict
import jax
import jax.numpy as jnp
import ml_dtypes
import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from oracles import observed as oracle

from ted_core import cross_entropy_mask_gradient, signals

few = settings(max_examples=8, deadline=None)
seeds = st.integers(0, 2**32 - 1)
LIBRARIES: dict[str, Any] = {
    "numpy": np.asarray,
    "torch": lambda a: torch.from_numpy(np.array(a)),
    "jax": jnp.asarray,
    "array-api-strict": array_api_strict.asarray,
}
CLASSIFIERS = {
    "mask_gradient": oracle.mask_gradient,
    "el2n": oracle.el2n,
    "margin": lambda z, _: oracle.margin(z),
    "least_confidence": lambda z, _: oracle.least_confidence(z),
    "forgetting": lambda z, y: oracle.forgetting(z, y.index(max(y))),
}


@pytest.fixture(params=LIBRARIES, scope="module")
def to(request: pytest.FixtureRequest) -> Any:
    """Return what makes an array of one library from a NumPy array."""
    return LIBRARIES[request.param]


def one_of(to, seed, drawn, *fixed):
    """Return the drawn sizes; one of two for JAX, which compiles every shape anew."""
    return fixed[seed % 2] if to is jnp.asarray else drawn


def close(actual: Any, expected: Any, *, rtol: float = 2e-5, atol: float = 1e-5):
    np.testing.assert_allclose(np.asarray(actual), expected, rtol=rtol, atol=atol)


def batch(seed, n, classes, width=3):
    rng = np.random.default_rng(seed)
    z = 3 * rng.normal(size=(n, classes)).astype(np.float32)
    h = rng.normal(size=(n, width)).astype(np.float32)
    return z, rng.integers(0, classes, size=n).astype(np.int32), h


@few
@given(seed=seeds, n=st.sampled_from([0, 1, 4]), classes=st.sampled_from([2, 5]))
@pytest.mark.parametrize("name", CLASSIFIERS)
def test_a_signal_of_logits_is_its_equation(to, name, seed, n, classes):
    n, classes = one_of(to, seed, (n, classes), (1, 2), (4, 5))
    z, labels, _ = batch(seed, n, classes)
    hot = [oracle.one_hot(k, classes) for k in labels]
    expected = [CLASSIFIERS[name](a.tolist(), y) for a, y in zip(z, hot, strict=True)]
    value = signals.compute(name, logits=to(z), labels=to(labels))
    assert type(value) is type(to(z))
    assert value.shape == (n,)
    close(value, expected)


@few
@given(
    seed=seeds, classes=st.integers(2, 4), width=st.integers(0, 3), bias=st.booleans()
)
def test_grand_is_the_norm_of_the_heads_gradient(to, seed, classes, width, bias):
    classes, width = one_of(to, seed, (classes, width), (2, 3), (3, 2))
    rng = np.random.default_rng(seed)
    W, b, h = (rng.normal(size=s) for s in ((classes, width), classes, width))  # noqa: N806
    b = b if bias else 0 * b
    k = int(rng.integers(classes))
    expected = oracle.grand(
        W.tolist(), b.tolist(), h.tolist(), oracle.one_hot(k, classes), bias=bias
    )
    z, hidden = ((W @ h + b)[None], h[None])
    value = signals.grand(to(z), to(np.array([k], np.int32)), to(hidden), bias=bias)
    close(value, [expected])


@few
@given(seed=seeds, n=st.sampled_from([0, 4]))
@pytest.mark.parametrize("kind", [np.float64, np.int32, np.bool_])
def test_one_hot_labels_of_any_real_dtype_are_indices(to, kind, seed, n):
    z, labels, h = batch(seed, n, 4)
    hot = np.eye(4)[labels].astype(kind)
    for name in signals.SIGNALS:
        given_arrays = {"losses": to(z[:, 0]), "logits": to(z), "hidden": to(h)}
        one, same = (
            signals.compute(name, labels=to(y), **given_arrays) for y in (labels, hot)
        )
        close(one, np.asarray(same), rtol=1e-6, atol=1e-7)


@few
@given(seed=seeds)
def test_soft_labels_need_not_sum_to_one(to, seed):
    z, _, h = batch(seed, 3, 4)
    y = np.random.default_rng(seed).random((3, 4)).astype(np.float32)
    p = np.array([oracle.softmax(a.tolist()) for a in z])
    error = np.linalg.norm(y.sum(axis=1, keepdims=True) * p - y, axis=1)
    close(signals.el2n(to(z), to(y)), error)
    norm = np.sqrt((h**2).sum(axis=1) + 1)
    close(signals.grand(to(z), to(y), to(h)), error * norm)
    closed = cross_entropy_mask_gradient(to(z), to(y))
    value = signals.compute("mask_gradient", logits=to(z), labels=to(y))
    close(value, np.asarray(closed))
    right = [a.argmax() == b.argmax() for a, b in zip(z, y, strict=True)]
    close(signals.forgetting(to(z), to(y)), right)


def test_solved_samples_keep_their_digits(to):
    z = np.array([[15.0, 0.0, 1.0], [60.0, 0.0, 1.0]], np.float32)
    labels = np.array([0, 0], np.int32)
    rest = (1 + np.e) / (np.exp([15, 60]) + 1 + np.e)
    for y in (labels, np.eye(3, dtype=np.float32)[labels]):
        error = signals.el2n(to(z), to(y))
        close(error, rest * np.sqrt(1 + (1 + np.e**2) / (1 + np.e) ** 2), atol=0)
    close(signals.least_confidence(to(z)), rest, rtol=1e-5, atol=0)
    close(signals.margin(to(z)), rest * (1 + np.e / (1 + np.e)), rtol=1e-5, atol=0)


def test_equals_at_the_top_have_no_margin_and_are_not_right(to):
    z = to(np.array([[2, 2, 0], [2, 2, 2]], np.float32))
    labels = to(np.array([0, 1], np.int32))
    close(signals.margin(z), [1, 1], rtol=1e-6)
    assert np.asarray(signals.forgetting(z, labels)).tolist() == [0, 0]


def test_a_class_that_does_not_exist_is_no_observation(to):
    z, h = np.ones((3, 2), np.float32), np.ones((3, 1), np.float32)
    labels = to(np.array([2, -100, 0], np.int32))
    for name in ("el2n", "grand", "forgetting"):
        value = signals.compute(name, logits=to(z), labels=labels, hidden=to(h))
        assert np.isnan(np.asarray(value)).tolist() == [True, True, False]
    blank = signals.forgetting(to(z), to(np.zeros((3, 2), np.float32)))
    assert np.isnan(np.asarray(blank)).all()


@pytest.mark.parametrize("wrong", [np.nan, np.inf])
@pytest.mark.parametrize("name", CLASSIFIERS)
def test_a_not_finite_sample_stays_alone_and_is_dropped(to, name, wrong):
    z = np.array([[0.0, 1.0], [wrong, 1.0], [0.0, 1.0]], np.float32)
    labels = np.array([0, 1, 1], np.int32)
    value = np.asarray(signals.compute(name, logits=to(z), labels=to(labels)))
    assert np.isfinite(value[[0, 2]]).all()
    if name != "forgetting" or np.isnan(wrong):  # infinite logits have an order
        assert not np.isfinite(value[1])


def test_classes_masked_out_with_minus_infinity_do_not_count(to):
    z = np.array([[1, 2, -np.inf], [1, -np.inf, -np.inf]], np.float32)
    labels = to(np.array([0, 0], np.int32))
    parts = [(z[:1, :2], labels[:1]), (z[1:, :2], labels[1:])]
    for name in ("mask_gradient", "el2n", "least_confidence", "forgetting"):
        full = signals.compute(name, logits=to(z), labels=labels)
        part = [signals.compute(name, logits=to(a), labels=y) for a, y in parts]
        close(full, [float(a[0]) for a in part], rtol=1e-6, atol=0)


def test_huge_logits_neither_overflow_nor_lose_digits_to_their_offset(to):
    z, labels, _ = batch(0, 4, 3)
    for name in CLASSIFIERS:
        near, far = (
            signals.compute(name, logits=to(a), labels=to(labels))
            for a in (z.round(), z.round() + 4096)
        )
        close(far, np.asarray(near), rtol=1e-6, atol=0)
        value = signals.compute(name, logits=to(z * 1e30), labels=to(labels))
        assert np.isfinite(np.asarray(value)).all()


def test_half_precision_becomes_float32_and_float64_stays():
    z, labels, h = batch(1, 4, 3)
    halves = {
        "numpy": lambda a: a.astype(np.float16),
        "numpy-bfloat16": lambda a: a.astype(ml_dtypes.bfloat16),
        "torch": lambda a: torch.from_numpy(a).bfloat16(),
        "jax": lambda a: jnp.asarray(a, jnp.bfloat16),
    }
    for half in halves.values():
        a, b = half(z), half(h)
        y = torch.from_numpy(labels) if isinstance(a, torch.Tensor) else labels
        y = jnp.asarray(labels) if isinstance(a, jax.Array) else y
        for name in signals.SIGNALS:
            value = signals.compute(name, losses=a[:, 0], logits=a, labels=y, hidden=b)
            assert "float32" in str(value.dtype)
    wide = signals.el2n(z.astype(np.float64), labels)
    assert wide.dtype == np.float64


def test_a_torch_graph_is_left_alone():
    z = torch.ones(2, 3, requires_grad=True)
    value = signals.el2n(z, torch.tensor([0, 1]))
    assert not value.requires_grad
    assert not signals.loss(z.sum(dim=1)).requires_grad


@pytest.mark.filterwarnings("ignore:Dynamo detected a call to a `functools.lru_cache`")
@pytest.mark.parametrize("name", signals.SIGNALS)
def test_every_signal_is_traced_whole_by_torch_and_jax(name):
    z, labels, h = batch(2, 4, 3)
    arrays = {"losses": z[:, 0], "logits": z, "labels": labels, "hidden": h}
    arrays = {key: arrays[key] for key in signals.INPUTS[name]}
    expected = signals.compute(name, **arrays)

    def call(given):
        return signals.compute(name, **given)

    compiled = torch.compile(call, fullgraph=True, backend="eager")
    close(compiled({k: torch.from_numpy(a) for k, a in arrays.items()}), expected)
    close(jax.jit(call)(arrays), expected)


@pytest.mark.parametrize("name", signals.SIGNALS)
def test_a_library_beside_the_array_api_needs_a_few_functions_only(name):
    asked = "abs any exp full_like isnan max ones_like sqrt sum where zeros_like"
    xp = SimpleNamespace(**{key: getattr(np, key) for key in asked.split()})
    z, labels, h = batch(3, 4, 3)
    z = np.append(z, np.full((4, 1), -np.inf, np.float32), axis=1)
    hot = np.eye(4, dtype=np.float32)[labels]
    arrays = {"losses": z[:, 0], "logits": z, "hidden": h, "bias": False}
    value = signals.compute(name, labels=hot, xp=xp, **arrays)
    close(value, signals.compute(name, labels=labels, **arrays))


@few
@given(seed=seeds, scale=st.sampled_from([1e-3, 1.0, 1e3]))
def test_normalized_values_have_mean_magnitude_one(to, seed, scale):
    v = np.random.default_rng(seed).normal(size=6).astype(np.float32)
    value = np.asarray(signals.normalize(to(v * np.float32(scale))))
    close(value, v / np.abs(v.astype(np.float64)).mean())


def test_normalizing_leaves_zeros_and_what_is_not_finite_to_itself(to):
    assert np.asarray(signals.normalize(to(np.zeros(3)))).tolist() == [0, 0, 0]
    assert signals.normalize(to(np.zeros(0))).shape == (0,)
    v = np.array([1.0, np.nan, -3.0, np.inf])
    close(signals.normalize(to(v)), [0.5, np.nan, -1.5, np.inf])
