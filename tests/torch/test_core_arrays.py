"""PyTorch's tensors as arrays of the core."""

from __future__ import annotations

import pytest
import torch

import ted_core


@pytest.mark.parametrize("dtype", [torch.uint8, torch.uint16, torch.int32, torch.int64])
def test_tensors_of_every_integer_dtype_are_ids(dtype):
    pruner = ted_core.Pruner(9, epochs=5)
    values = torch.tensor([1.0, 2.0], requires_grad=True)
    valid = torch.tensor([True, False])
    pruner.observe(torch.tensor([3, 8]).to(dtype), values, valid=valid)
    pruner.advance()
    assert pruner.scores[3] == 1
    assert pruner.update_counts[8] == 0


@pytest.mark.parametrize(
    "values",
    [
        torch.ones(2, device="meta"),
        [torch.ones((), requires_grad=True), torch.ones((), requires_grad=True)],
    ],
    ids=["meta", "list"],
)
def test_tensors_without_readable_numbers_are_refused_by_name(values):
    with pytest.raises(TypeError, match="`values` must be an array, got "):
        ted_core.Pruner(9, epochs=5).observe([3, 8], values)
    with pytest.raises(TypeError, match="`scores` must be an array, got "):
        ted_core.Static(values)
