"""Bad input to the importance functions is refused by name, rule and value."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from ted_core.signals.mask_gradient import (
    cross_entropy_mask_gradient,
    mask_gradient,
    segment_mask_gradient,
)

H = np.ones((2, 3), np.float32)
L = np.array([0, 1])
S = np.zeros((2, 3), np.int64)


@pytest.mark.parametrize(
    ("call", "error", "message"),
    [
        (lambda: mask_gradient([1.0], H), TypeError, "`hidden`.*got list"),
        (lambda: mask_gradient(H, None), TypeError, "`gradient`.*got NoneType"),
        (lambda: mask_gradient(H[0, 0], H), (TypeError, ValueError), "`hidden`"),
        (lambda: mask_gradient(np.array(1.0), H), ValueError, r"`hidden`.*shape \(\)"),
        (lambda: mask_gradient(S, H), TypeError, "`hidden`.*floating.*int64"),
        (lambda: mask_gradient(H, H > 0), TypeError, "`gradient`.*bool"),
        (lambda: mask_gradient(H + 1j, H), TypeError, "`hidden`.*complex"),
        (lambda: mask_gradient(H, H.T), ValueError, r"`gradient`.*\(2, 3\).*\(3, 2\)"),
        (lambda: mask_gradient(H, H[:, :1]), ValueError, r"`gradient`.*\(2, 1\)"),
        (
            lambda: mask_gradient(H, torch.ones(2, 3)),
            TypeError,
            "`hidden` and `gradient`.*one library, got numpy and torch",
        ),
        (
            lambda: mask_gradient(H, H, loss_gradient=H),
            ValueError,
            r"`loss_gradient`.*\(2,\).*\(2, 3\)",
        ),
        (
            lambda: mask_gradient(H, H, loss_gradient=0.5),
            TypeError,
            "`loss_gradient`.*got float",
        ),
        (
            lambda: mask_gradient(H, H, loss_gradient=L),
            TypeError,
            "`loss_gradient`.*int64",
        ),
        (
            lambda: mask_gradient(H, H, token_mask=H),
            TypeError,
            "`token_mask`.*float32",
        ),
        (
            lambda: mask_gradient(H, H, token_mask=S[:, :2] > 0),
            ValueError,
            r"`token_mask`.*\(2, 3\).*\(2, 2\)",
        ),
        (
            lambda: segment_mask_gradient(H, H, H, 2),
            TypeError,
            "`segment_ids`.*integers.*float32",
        ),
        (
            lambda: segment_mask_gradient(H, H, L, 2),
            ValueError,
            r"`segment_ids`.*\(2, 3\).*\(2,\)",
        ),
        (
            lambda: segment_mask_gradient(H[0], H[0], L, 2),
            ValueError,
            r"`hidden`.*\(3,\)",
        ),
        (
            lambda: segment_mask_gradient(H, H, S, -1),
            ValueError,
            "`num_segments`.*at least 0.*-1",
        ),
        (
            lambda: segment_mask_gradient(H, H, S, 2.0),
            TypeError,
            "`num_segments`.*integer",
        ),
        (
            lambda: segment_mask_gradient(H, H, S, 3, loss_gradient=H[0, :2]),
            ValueError,
            r"`loss_gradient`.*\(3,\).*`num_segments`.*\(2,\)",
        ),
        (
            lambda: cross_entropy_mask_gradient(H[0], L),
            ValueError,
            r"`logits`.*2 axis.*\(3,\)",
        ),
        (
            lambda: cross_entropy_mask_gradient(H[:, :0], L),
            ValueError,
            r"`logits`.*at least one class.*\(2, 0\)",
        ),
        (lambda: cross_entropy_mask_gradient(S, L), TypeError, "`logits`.*int64"),
        (
            lambda: cross_entropy_mask_gradient(H, [0, 1]),
            TypeError,
            "`labels`.*got list",
        ),
        (
            lambda: cross_entropy_mask_gradient(H, L.astype(float)),
            TypeError,
            "`labels`.*integers.*float64",
        ),
        (
            lambda: cross_entropy_mask_gradient(H, L[:1]),
            ValueError,
            r"`labels`.*\(2,\).*\(1,\)",
        ),
        (
            lambda: cross_entropy_mask_gradient(H, H[:, :2]),
            ValueError,
            r"`labels`.*\(2, 3\).*\(2, 2\)",
        ),
        (
            lambda: cross_entropy_mask_gradient(H, H + 1j),
            TypeError,
            "`labels`.*complex",
        ),
        (
            lambda: cross_entropy_mask_gradient(H, L, label_smoothing=1.0),
            ValueError,
            r"`label_smoothing`.*\[0, 1\).*1.0",
        ),
        (
            lambda: cross_entropy_mask_gradient(H, L, label_smoothing=float("nan")),
            ValueError,
            "`label_smoothing`.*nan",
        ),
        (
            lambda: cross_entropy_mask_gradient(H, H, ignore_index=-100),
            ValueError,
            "`ignore_index`.*None.*-100.*zeros",
        ),
        (
            lambda: cross_entropy_mask_gradient(H, L, ignore_index=0.5),
            TypeError,
            "`ignore_index`.*integer",
        ),
    ],
)
def test_bad_input_is_refused_by_name(call, error, message):
    with pytest.raises(error, match=message):
        call()


def test_an_empty_batch_and_a_batch_of_one_are_valid():
    for n in (0, 1):
        h = H[:n]
        assert mask_gradient(h, h).tolist() == [3.0] * n
        assert cross_entropy_mask_gradient(h, L[:n]).shape == (n,)
        assert segment_mask_gradient(h, h, S[:n], 1).tolist() == [3.0 * n]
