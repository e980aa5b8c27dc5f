from __future__ import annotations

import warnings

import array_api_strict
import jax
import jax.numpy as jnp
import ml_dtypes
import numpy as np
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from oracles import delta as oracle

from ted_core.signals._formulas import pre_activation
from ted_core.signals.mask_gradient import (
    cross_entropy_mask_gradient,
    mask_gradient,
    segment_mask_gradient,
)


def to_float64(array):
    if isinstance(array, torch.Tensor):
        array = array.double()
    return np.asarray(array, np.float64)


@settings(max_examples=20, deadline=None)
@given(seed=st.integers(0, 2**32 - 1))
def test_half_precision_accumulates_in_float32(seed):
    h, g = np.random.default_rng(seed).normal(size=(2, 2, 3000)).astype(np.float32)
    halves = {
        "numpy": lambda a: a.astype(np.float16),
        "numpy-bfloat16": lambda a: a.astype(ml_dtypes.bfloat16),
        "torch": lambda a: torch.from_numpy(a).bfloat16(),
        "jax": lambda a: jnp.asarray(a, jnp.bfloat16),
    }
    for half in halves.values():
        a, b = half(h), half(g)
        value = mask_gradient(a, b)
        assert "float32" in str(value.dtype)
        exact = oracle.inner_products(to_float64(a), to_float64(b))
        np.testing.assert_allclose(to_float64(value), abs(exact), rtol=1e-4, atol=1e-3)


def test_float64_stays_float64():
    h = np.random.default_rng(0).normal(size=(2, 3))
    labels = np.array([0, 1])
    with jax.enable_x64(True):  # noqa: FBT003 - JAX's signature
        for to in (np.asarray, torch.tensor, jnp.asarray, array_api_strict.asarray):
            for value in (
                mask_gradient(to(h), to(h)),
                cross_entropy_mask_gradient(to(h), to(labels), label_smoothing=0.1),
                segment_mask_gradient(to(h), to(h), to(labels[:, None] * [1, 1, 1]), 2),
            ):
                assert "float64" in str(value.dtype)


def test_the_values_carry_no_autograd_graph():
    h = torch.ones(2, 3, requires_grad=True)
    assert not mask_gradient(h, h).requires_grad
    assert not cross_entropy_mask_gradient(h, torch.tensor([0, 1])).requires_grad


def test_nothing_is_read_back_from_the_device():
    h, labels = jnp.ones((2, 3)), jnp.array([0, 1])
    ids = jnp.zeros((2, 3), int)
    jax.jit(mask_gradient)(h, h, loss_gradient=h[:, 0], token_mask=ids)
    jax.jit(segment_mask_gradient, static_argnums=3)(h, h, ids, 2)
    jax.jit(cross_entropy_mask_gradient, static_argnames="ignore_index")(
        h, labels, ignore_index=1
    )
    jax.jit(pre_activation, static_argnums=(0, 3))(jnp, h, h, "softmax")
    meta = torch.ones(2, 3, device="meta")
    assert mask_gradient(meta, meta).device.type == "meta"
    labels = torch.ones(2, dtype=torch.int64, device="meta")
    assert cross_entropy_mask_gradient(meta, labels).device.type == "meta"
    ids = torch.ones(2, 3, dtype=torch.int64, device="meta")
    assert segment_mask_gradient(meta, meta, ids, 2).device.type == "meta"


def test_a_compiled_step_takes_the_value_in_one_graph():
    compiled = torch.compile(mask_gradient, backend="eager", fullgraph=True)
    h = torch.tensor([[1.0, 2.0], [3.0, 4.0]])
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # Dynamo traces through caches and says so
        assert compiled(h, h).tolist() == [5.0, 25.0]
