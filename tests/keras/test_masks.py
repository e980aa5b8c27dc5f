from __future__ import annotations

import numpy as np
import pytest
from keras import ops
from ted_keras import mask_gradient

import ted_core


def test_the_value_is_the_core_s():
    h, g = np.random.default_rng(0).normal(size=(2, 5, 3, 2)).astype(np.float32)
    found = mask_gradient(ops.convert_to_tensor(h), ops.convert_to_tensor(g))
    np.testing.assert_allclose(found, ted_core.mask_gradient(h, g), rtol=1e-5)


def test_half_precision_accumulates_in_float32():
    ones = ops.ones((1, 5000), dtype="float16")
    found = mask_gradient(ones, ones)
    assert float(ops.cast(found, "float32")[0]) == 5000


def test_other_shapes_are_refused_by_name():
    with pytest.raises(ValueError, match="`hidden` and `gradient` must have one shape"):
        mask_gradient(ops.ones((2, 3)), ops.ones((2, 2)))
