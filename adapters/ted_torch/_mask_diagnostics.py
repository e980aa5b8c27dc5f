"""Symptoms of a mask that scores nothing, found in the first step of an epoch.

`symptoms` is a tensor of shape (4,) on the device: a sample's largest
|<h, g>| / (|h| |g|), and whether all rows were probabilities of a softmax, their
logarithms, or probabilities of a sigmoid; -1 if nothing was seen.
"""

from __future__ import annotations

import torch
from torch import Tensor

from ted_core.errors import warn_caller

SYMPTOMS = 4
_MIN_COSINE = 1e-4
_MAX_ERROR_OF_SUM = _MAX_SPREAD = 1e-3
_TEXT_AXES, _MAX_OUTPUTS = 3, 1 << 20
_LIKELY = 1  # position among the symptoms


def watch(mask: Tensor, symptoms: Tensor) -> None:
    """Measure at a mask in the coming backward."""
    hidden = mask.detach()

    def hook(grad: Tensor) -> None:
        with torch.no_grad():
            both = hidden, grad.view_as(hidden)
            if hidden.ndim == _TEXT_AXES:
                # Of all logits of long texts a part of the tokens tells as much.
                every = -(-hidden.numel() // _MAX_OUTPUTS)
                both = both[0][:, ::every], both[1][:, ::every]
            found = _measure(*(one.float() for one in both))
            torch.maximum(symptoms, found.to(symptoms.device), out=symptoms)

    hidden = hidden[:, None] if hidden.ndim == 1 else hidden
    if hidden.numel():
        mask.register_hook(hook)  # type: ignore[no-untyped-call]


def _measure(hidden: Tensor, gradient: Tensor) -> Tensor:
    """Return the symptoms of one batch."""
    # Scaled before it is squared: a loss scale must not bring it to 0 or infinity.
    h, g = hidden.flatten(1), gradient.flatten(1)
    h = h / h.abs().amax(1, keepdim=True)
    g = g / g.abs().amax(1, keepdim=True)
    cosine = (h * g).sum(1).abs() / (h.norm(dim=1) * g.norm(dim=1))
    largest = torch.where(cosine.isfinite(), cosine, -1.0).max()
    likely, logs = _of_softmax(hidden), torch.zeros_like(largest, dtype=torch.bool)
    for axis in _class_axes(hidden):
        of_logs = hidden.logsumexp(axis).abs().amax()
        logs |= (hidden <= 0).all() & (of_logs < _MAX_ERROR_OF_SUM)
    sigmoid = _of_sigmoid(hidden.flatten(1), gradient.flatten(1))
    return torch.stack([largest, likely.float(), logs.float(), sigmoid.float()])


def look(logits: Tensor, symptoms: Tensor) -> None:
    """Note whether what a signal takes for logits are probabilities."""
    if logits.numel():
        likely = _of_softmax(logits.float()).to(symptoms)
        symptoms[_LIKELY] = torch.maximum(symptoms[_LIKELY], likely)


def _of_softmax(values: Tensor) -> Tensor:
    """Tell whether all rows are probabilities."""
    likely = torch.zeros((), dtype=torch.bool, device=values.device)
    for axis in _class_axes(values):
        of_sum = (values.sum(axis) - 1).abs().amax()
        likely |= (values >= 0).all() & (of_sum < _MAX_ERROR_OF_SUM)
    return likely


def _class_axes(values: Tensor) -> list[int]:
    """Return the axes that classes may be at: the second, or of tokens the last."""
    return [axis for axis in {1, values.ndim - 1} if values.shape[axis] > 1]


def _of_sigmoid(p: Tensor, gradient: Tensor) -> Tensor:
    """Tell whether a binary cross entropy of the probabilities p has this gradient."""
    # It is c / (1 - p), or -c / p where the label is 1, with a c of each sample.
    # A single number a sample tells nothing but beside those of the others.
    axes = (1,) if p.shape[1] > 1 else (0, 1)
    g = gradient / gradient.abs().amax(axes, keepdim=True)
    c = g.abs() * torch.where(g < 0, p, 1 - p)
    # Not where a loss is left out, or a sigmoid is rounded to 0 or 1.
    counts = (gradient != 0) & (p > 0) & (p < 1)
    (low, high), (least, most) = (
        (
            torch.where(counts, v, torch.inf).amin(axes),
            torch.where(counts, v, -1).amax(axes),
        )
        for v in (c, p)
    )
    alike = (high - low <= _MAX_SPREAD * high) | (counts.sum(axes) < 2)  # noqa: PLR2004
    # A product of the p has -c / p everywhere, and equal p tell nothing.
    tells = (most - least > _MAX_SPREAD) & (counts & (g > 0)).any(axes)
    return ((p >= 0) & (p <= 1)).all() & alike.all() & tells.any()


def warn_of(symptoms: Tensor, epoch: int, signal: str, told: set[int]) -> None:
    """Warn once a run of a mask before a norm or at probabilities; forget symptoms."""
    cosine, likely, logs, sigmoid = symptoms.tolist()
    symptoms.fill_(-1.0)
    probabilities = (
        f"`mask` should hold logits, not probabilities as in epoch {epoch}: "
        "the mask gradient of softmax outputs is 1 for every sample"
    )
    if signal != "mask_gradient":
        probabilities = (
            f"`logits` should hold logits, not probabilities as in epoch {epoch}: "
            f"{signal!r} takes their softmax again; give the tensor before `softmax`"
        )
    found = {
        f"`mask` should not feed a normalisation layer alone: in epoch {epoch} "
        f"|<h, g>| / (|h| |g|) was at most {cosine:.1e}, so the scores are rounding "
        "errors; mask a tensor before a sum, after the norm, or the logits": (
            0 <= cosine < _MIN_COSINE
        ),
        probabilities: likely > 0,
        f"`mask` should hold logits, not log-probabilities as in epoch {epoch}: the "
        "mask gradient of log_softmax outputs is the loss itself; give the tensor "
        'before `log_softmax`, or say `method="ted_loss"`': logs > 0,
        f"`mask` should hold logits, not sigmoid outputs as in epoch {epoch}: the mask "
        "gradient of a label that is 1 is 1, however likely it is; give the tensor "
        "before `sigmoid`, with `binary_cross_entropy_with_logits`": sigmoid > 0,
    }
    for kind, (message, seen) in enumerate(found.items()):
        if seen and kind not in told:
            told.add(kind)
            warn_caller(message)
