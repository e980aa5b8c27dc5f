"""From per-sample losses to the one number whose gradient is taken."""

from __future__ import annotations

import torch
from torch import Tensor

from ted_core import EpochPlan
from ted_core.selection.sharded import MAX_REPEATS
from ted_torch._validation import check_float, check_valid

_HALF = 2


def per_sample(losses: object, *, valid: Tensor | None = None) -> Tensor:
    """Average pixel, token or label losses to one a sample; 0 where none is valid."""
    losses = check_float("losses", losses)
    if losses.ndim == 0:
        msg = (
            "`losses` must have shape (B, ...), one loss a sample, got a scalar; "
            'compute it with reduction="none"'
        )
        raise ValueError(msg)
    if valid is None:
        return losses.flatten(1).mean(1) if losses.ndim > 1 else losses
    valid = check_valid(valid, losses)
    size = losses.shape[0]
    # What is not valid gets no gradient, be it finite or not.
    kept = torch.where(valid, losses, 0.0).reshape(size, -1)
    return kept.sum(1) / valid.reshape(size, -1).sum(1).clamp(min=1)


def wide_dtype(tensor: Tensor) -> torch.dtype:
    """Return the dtype that accumulates: float64 for float64, else float32."""
    return torch.float64 if tensor.dtype == torch.float64 else torch.float32


def widened(losses: Tensor) -> Tensor:
    """Return half-precision losses in float32: their sum would overflow."""
    return losses.float() if losses.element_size() == _HALF else losses


def mean_loss(losses: Tensor, scale: Tensor | float, weights: Tensor | None) -> Tensor:
    """Return scale / B * sum_k w_k l_k (Eq. 23); B is not the weights' sum."""
    wide = widened(losses if weights is None else losses * weights)
    mean = wide.mean() if wide.numel() else wide.sum()
    return mean if isinstance(scale, float) and scale == 1 else mean * scale


def weighs(plan: EpochPlan) -> bool:
    """Tell whether samples of a plan weigh other than 1."""
    # A process that keeps next to nothing fills its epoch with pruned samples of its
    # own, which must not train the network.
    return plan.weights is not None or plan.visited > MAX_REPEATS * len(plan)


def dense_weights(plan: EpochPlan, device: torch.device | str = "cpu") -> Tensor | None:
    """Return a plan's weights by sample id, (n + 1,); None if all weigh 1."""
    if not weighs(plan):
        return None
    filled = plan.visited > MAX_REPEATS * len(plan)
    weights = torch.full((plan.n + 1,), 0.0 if filled else 1.0)
    kept = 1.0 if plan.weights is None else torch.tensor(plan.weights)
    weights[torch.from_numpy(plan.order.copy()).long()] = kept
    return weights.to(device)
