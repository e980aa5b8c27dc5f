"""The optimisers and learning rates of the paper's Appendix A."""

from __future__ import annotations

import math

import torch
from torch.optim import SGD, Adam, AdamW, Optimizer

__all__ = ["LARS", "RATES", "make_optimizer", "one_cycle", "steps_down"]


class LARS(Optimizer):
    r"""Layer-wise adaptive rate scaling, v <- m v + lr trust (g + d w), w <- w - v.

    trust is c \|w\| / (\|g\| + d \|w\|), and 1 for vectors (biases, batch norm), which
    are not decayed either. You, Gitman, Ginsburg, Large batch training of
    convolutional networks, 2017.
    """

    def __init__(self, params, lr, *, momentum=0.9, weight_decay=0.0, trust=0.001):
        options = {"momentum": momentum, "weight_decay": weight_decay, "trust": trust}
        super().__init__(params, {"lr": lr, **options})

    @torch.no_grad()
    def step(self):
        for group in self.param_groups:
            weights = [p for p in group["params"] if p.grad is not None]
            grads = [p.grad for p in weights]
            decay = [group["weight_decay"] if p.ndim > 1 else 0.0 for p in weights]
            sizes = torch._foreach_norm(weights)  # noqa: SLF001 - one kernel for all
            slopes = torch._foreach_norm(grads)  # noqa: SLF001
            for p, g, d, size, slope in zip(
                weights, grads, decay, sizes, slopes, strict=True
            ):
                trust = 1.0
                if p.ndim > 1:
                    bottom = slope + d * size
                    trust = group["trust"] * size / bottom
                    trust = torch.where((size > 0) & (bottom > 0), trust, 1.0)
                state = self.state[p]
                if "v" not in state:
                    state["v"] = torch.zeros_like(p)
                move = (g + d * p) * trust * group["lr"]
                state["v"].mul_(group["momentum"]).add_(move)
                p.sub_(state["v"])


def one_cycle(progress, *, rise=0.3, first=1 / 25, last=1e-4 / 25):
    """Return the share of the peak rate at `progress` in [0, 1], up and down a cosine.

    The defaults are those of PyTorch's ``OneCycleLR``.
    """
    if progress < rise:
        start, end, place = first, 1.0, progress / rise
    else:
        start, end, place = 1.0, last, (progress - rise) / (1 - rise)
    return end + (start - end) * (1 + math.cos(math.pi * place)) / 2


def steps_down(progress):
    """Return 1, 0.1, 0.01 by thirds: a tenth every 30 of 90 epochs."""
    return 0.1 ** min(2, int(3 * progress))


def linear(progress):
    """Return the share that is left: 1 at the start, 0 at the end."""
    return 1 - progress


def cosine(progress):
    """Return half a cosine from 1 down to 0."""
    return (1 + math.cos(math.pi * progress)) / 2


RATES = {
    "one cycle": one_cycle,
    "steps": steps_down,
    "linear": linear,
    "cosine": cosine,
}
ADAMS = {"adam": Adam, "adamw": AdamW}


def make_optimizer(parameters, training):
    """Return the optimiser of a configuration."""
    if training["optimizer"] in ADAMS:
        options = {"lr": training["rate"]}
        options |= {"weight_decay": training.get("weight_decay", 0.0)}
        return ADAMS[training["optimizer"]](parameters, **options)
    options = {"momentum": training["momentum"]}
    options |= {"weight_decay": training["weight_decay"], "lr": training["rate"]}
    if training["optimizer"] == "lars":
        return LARS(parameters, **options)
    options["nesterov"] = training.get("nesterov", False)
    return SGD(parameters, fused=parameters[0].is_cuda, **options)
