"""From per-sample losses to the one number whose gradient is taken."""

from __future__ import annotations

import torch
from torch import Tensor

from ted_core import EpochPlan
from ted_core.selection.sharded import MAX_REPEATS
from ted_torch._validation import check_losses, check_valid

__all__ = ["dense_weights", "mean_loss", "per_sample"]

_HALF = 2
_MOST_SCALE = 2**63


def per_sample(losses: Tensor, *, valid: Tensor | None = None) -> Tensor:
    """Average pixel, token or label losses to one loss a sample.

    Parameters
    ----------
    losses : Tensor of float, shape (B, ...)
        Unreduced losses.
    valid : Tensor of bool, shape (B, ...), optional
        Which of them count: False at padding and ignored tokens. None means all.

    Returns
    -------
    Tensor of float, shape (B,)
        Mean over all valid losses of a sample, 0 if there are none; `losses` itself
        if it has one axis and `valid` is not given.

    Raises
    ------
    TypeError
        `losses` is no floating tensor, or `valid` no bool tensor.
    ValueError
        `losses` is a scalar, or the shapes differ.

    Notes
    -----
    What is not valid gets no gradient, be it finite or not.

    Examples
    --------
    >>> import torch
    >>> from ted_torch import per_sample
    >>> losses = torch.tensor([[1.0, 3.0], [0.0, 4.0]])
    >>> per_sample(losses).tolist(), per_sample(losses, valid=losses > 0).tolist()
    ([2.0, 2.0], [2.0, 4.0])
    """
    losses = check_losses(losses)
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
    kept = torch.where(valid, losses, 0.0).reshape(size, -1)
    return kept.sum(1) / valid.reshape(size, -1).sum(1).clamp(min=1)


def mean_loss(
    losses: Tensor, *, scale: Tensor | float = 1.0, weights: Tensor | None = None
) -> Tensor:
    r"""Return the scaled mean, scale / B * sum_k w_k l_k (Eq. 23).

    Parameters
    ----------
    losses : Tensor of float, shape (B,)
        One loss a sample.
    scale : Tensor of float, shape (), or float, default 1.0
        1 / r_t.
    weights : Tensor of float, shape (B,), optional
        Weights w_k of the samples; None means 1. The mean divides by B, not by
        their sum.

    Returns
    -------
    Tensor of float32 or float64, shape ()
        The total; 0 for an empty batch.

    Raises
    ------
    ValueError, TypeError
        The shapes differ, or an argument is no tensor or number.

    Notes
    -----
    O(B).

    References
    ----------
    J. Xiao, P. Li, J. Nie, TED: Accelerate Model Training by Internal
    Generalization, ECAI 2024, Eq. 23.

    Examples
    --------
    >>> import torch
    >>> from ted_torch import mean_loss
    >>> mean_loss(torch.tensor([1.0, 3.0]), scale=2.0).item()
    4.0
    """
    for name, value in (("losses", losses), ("weights", weights)):
        optional = name == "weights" and value is None
        known = isinstance(value, Tensor) and value.is_floating_point()
        if not optional and not known:
            found = getattr(value, "dtype", type(value).__name__)
            msg = f"`{name}` must be a floating-point tensor, got {found}"
            raise TypeError(msg)
    single = isinstance(scale, Tensor) and scale.ndim == 0
    if not single and (isinstance(scale, bool) or not isinstance(scale, int | float)):
        msg = f"`scale` must be a number or a tensor of shape (), got {scale!r}"
        raise TypeError(msg)
    if isinstance(scale, int) and abs(scale) >= _MOST_SCALE:
        msg = f"`scale` must be in (-2^63, 2^63), got {scale}"
        raise ValueError(msg)
    if weights is not None:
        if weights.shape != losses.shape:
            msg = (
                f"`weights` must have shape {tuple(losses.shape)}, got shape "
                f"{tuple(weights.shape)}"
            )
            raise ValueError(msg)
        losses = losses * weights
    # A sum of half-precision losses would overflow where their mean does not.
    wide = losses.float() if losses.element_size() == _HALF else losses
    mean = wide.mean() if wide.numel() else wide.sum()
    return mean if isinstance(scale, float) and scale == 1 else mean * scale


def dense_weights(plan: EpochPlan, device: torch.device | str = "cpu") -> Tensor | None:
    """Return a plan's weights by slot of the buffer.

    Parameters
    ----------
    plan : EpochPlan
        The epoch's plan.
    device : torch.device or str, default "cpu"
        Where they are looked up.

    Returns
    -------
    Tensor of float32, shape (n + 1,), or None
        1 where the plan keeps no sample, or 0 if such ids fill a rank's epoch; None if
        all weigh 1.

    Notes
    -----
    O(n), only for strategies that weight their samples.

    Examples
    --------
    >>> from ted_core import Pruner
    >>> from ted_torch.losses import dense_weights
    >>> dense_weights(Pruner(4, epochs=5).plan()) is None
    True
    """
    filled = plan.visited > MAX_REPEATS * len(plan)
    if plan.weights is None and not filled:
        return None
    weights = torch.full((plan.n + 1,), 0.0 if filled else 1.0)
    kept = 1.0 if plan.weights is None else torch.tensor(plan.weights)
    weights[torch.from_numpy(plan.order.copy()).long()] = kept
    return weights.to(device)
