"""Symptoms of a mask that scores nothing, found in the first step of an epoch.

`symptoms` is a tensor of shape (3,) on the device: a sample's largest
|<h, g>| / (|h| |g|), and whether all rows were probabilities, or their logarithms;
-1 if nothing was seen.
"""

from __future__ import annotations

import warnings

import torch
from torch import Tensor

from ted_core import TedWarning

SYMPTOMS = 3
_MIN_COSINE = 1e-4
_MAX_ERROR_OF_SUM = 1e-3


def watch(mask: Tensor, symptoms: Tensor) -> None:
    """Measure at a mask in the coming backward."""
    hidden = mask.detach()

    def hook(grad: Tensor) -> None:
        with torch.no_grad():
            found = _measure(hidden.float(), grad.float())
            torch.maximum(symptoms, found.to(symptoms.device), out=symptoms)

    if hidden.ndim > 1 and hidden.numel():
        mask.register_hook(hook)  # type: ignore[no-untyped-call]


def _measure(hidden: Tensor, gradient: Tensor) -> Tensor:
    """Return the symptoms of one batch."""
    # Scaled before it is squared: a loss scale must not bring it to 0 or infinity.
    h, g = hidden.flatten(1), gradient.flatten(1)
    h = h / h.abs().amax(1, keepdim=True)
    g = g / g.abs().amax(1, keepdim=True)
    cosine = (h * g).sum(1).abs() / (h.norm(dim=1) * g.norm(dim=1))
    largest = torch.where(cosine.isfinite(), cosine, -1.0).max()
    # Classes are the second axis, or of tokens the last.
    likely, logs = torch.zeros(2, dtype=torch.bool, device=hidden.device)
    for axis in {1, hidden.ndim - 1}:
        several = hidden.shape[axis] > 1
        of_sum = (hidden.sum(axis) - 1).abs().amax()
        of_logs = hidden.logsumexp(axis).abs().amax()
        likely |= (hidden >= 0).all() & (of_sum < _MAX_ERROR_OF_SUM) & several
        logs |= (hidden <= 0).all() & (of_logs < _MAX_ERROR_OF_SUM) & several
    return torch.stack([largest, likely.float(), logs.float()])


def warn_of(symptoms: Tensor, epoch: int) -> None:
    """Warn of a mask before a norm or at probabilities, and forget the symptoms."""
    cosine, likely, logs = symptoms.tolist()
    symptoms.fill_(-1.0)
    found = []
    if 0 <= cosine < _MIN_COSINE:
        found.append(
            f"`mask` should not feed a normalisation layer alone: in epoch {epoch} "
            f"|<h, g>| / (|h| |g|) was at most {cosine:.1e}, so the scores are "
            "rounding errors; mask a tensor before a sum, after the norm, or the "
            "logits"
        )
    if likely > 0:
        found.append(
            f"`mask` should hold logits, not probabilities as in epoch {epoch}: "
            "the mask gradient of softmax outputs is 1 for every sample"
        )
    if logs > 0:
        found.append(
            f"`mask` should hold logits, not log-probabilities as in epoch {epoch}: "
            "the mask gradient of log_softmax outputs is the loss itself; give the "
            'tensor before `log_softmax`, or say `method="ted_loss"`'
        )
    for message in found:
        warnings.warn(message, TedWarning, stacklevel=5)
