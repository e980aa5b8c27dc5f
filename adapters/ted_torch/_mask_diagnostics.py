"""Symptoms of a mask that scores nothing, found in the first step of an epoch.

`symptoms` is a tensor of shape (2,) on the device: a sample's largest
|<h, g>| / (|h| |g|), and whether all rows were probabilities; -1 if nothing was seen.
"""

from __future__ import annotations

import warnings

import torch
from torch import Tensor

from ted_core import TedWarning

_MIN_COSINE = 1e-4
_MAX_ERROR_OF_SUM = 1e-3


def watch(mask: Tensor, symptoms: Tensor) -> None:
    """Measure at a mask in the coming backward."""
    hidden = mask.detach()

    def hook(grad: Tensor) -> None:
        with torch.no_grad():
            found = _measure(hidden.flatten(1).float(), grad.flatten(1).float())
            torch.maximum(symptoms, found.to(symptoms.device), out=symptoms)

    if hidden.ndim > 1 and hidden.numel():
        mask.register_hook(hook)  # type: ignore[no-untyped-call]


def _measure(hidden: Tensor, gradient: Tensor) -> Tensor:
    """Return the symptoms of one batch."""
    # Scaled before it is squared: a loss scale must not bring it to 0 or infinity.
    h = hidden / hidden.abs().amax(1, keepdim=True)
    g = gradient / gradient.abs().amax(1, keepdim=True)
    cosine = (h * g).sum(1).abs() / (h.norm(dim=1) * g.norm(dim=1))
    largest = torch.where(cosine.isfinite(), cosine, -1.0).max()
    errors = (hidden.sum(1) - 1).abs()
    likely = (hidden >= 0).all() & (errors < _MAX_ERROR_OF_SUM).all()
    several = hidden.shape[1] > 1
    return torch.stack([largest, (likely & several).float()])


def warn_of(symptoms: Tensor, epoch: int) -> None:
    """Warn of a mask before a norm or at probabilities, and forget the symptoms."""
    cosine, likely = symptoms.tolist()
    symptoms.fill_(-1.0)
    if 0 <= cosine < _MIN_COSINE:
        msg = (
            f"`mask` should not feed a normalisation layer alone: in epoch {epoch} "
            f"|<h, g>| / (|h| |g|) was at most {cosine:.1e}, so the scores are "
            "rounding errors; mask a tensor before a sum, after the norm, or the "
            "logits"
        )
        warnings.warn(msg, TedWarning, stacklevel=4)
    if likely > 0:
        msg = (
            f"`mask` should hold logits, not probabilities as in epoch {epoch}: "
            "the mask gradient of softmax outputs is 1 for every sample"
        )
        warnings.warn(msg, TedWarning, stacklevel=4)
