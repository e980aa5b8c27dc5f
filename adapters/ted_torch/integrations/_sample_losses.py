"""The losses of Hugging Face's models, one a sample, before anything averages them."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F  # noqa: N812

__all__ = ["class_losses", "span_losses", "token_losses", "token_weights"]

_IGNORED = -100


def token_losses(
    logits: Tensor, labels: Tensor, *, shift: bool, smoothing: float = 0.0
) -> dict[str, Tensor]:
    """Return the cross entropy of each token.

    Parameters
    ----------
    logits : Tensor of float, shape (B, T, V)
        Unnormalised scores of the tokens.
    labels : Tensor of int64, shape (B, T)
        Tokens; -100 is ignored.
    shift : bool
        Whether the scores at t are of token t + 1.
    smoothing : float, default 0.0
        Share of the loss that all tokens divide among them.

    Returns
    -------
    dict of str to Tensor
        ``losses``, float32, and ``valid``, bool, of shape (B, T): as `TED.loss` takes
        them.

    Raises
    ------
    ValueError
        The shapes differ.
    """
    if logits.ndim != 3 or labels.shape != logits.shape[:2]:  # noqa: PLR2004
        msg = (
            f"`labels` must have the shape of the tokens, got {tuple(labels.shape)} "
            f"for logits of shape {tuple(logits.shape)}; override `sample_losses`"
        )
        raise ValueError(msg)
    if shift:
        labels = F.pad(labels, (0, 1), value=_IGNORED)[:, 1:]
    losses = F.cross_entropy(
        logits.flatten(0, 1).float(),
        labels.flatten(),
        reduction="none",
        ignore_index=_IGNORED,
        label_smoothing=smoothing,
    )
    return {"losses": losses.view(labels.shape), "valid": labels != _IGNORED}


def class_losses(
    logits: Tensor, labels: Tensor, *, problem: str | None, smoothing: float = 0.0
) -> dict[str, Tensor]:
    """Return the losses of labels or targets of whole samples.

    Parameters
    ----------
    logits : Tensor of float, shape (B, C)
        The model's outputs.
    labels : Tensor, shape (B,), (B, 1) or (B, C)
        Classes, several classes at once, or numbers.
    problem : str or None
        The configuration's ``problem_type``; None is told from C and the dtype, as
        the models do.
    smoothing : float, default 0.0
        Share of the loss that all classes divide among them.

    Returns
    -------
    dict of str to Tensor
        ``losses`` and, for single labels, ``valid``: as `TED.loss` takes them.
    """
    logits, outputs = logits.float(), logits.shape[-1]
    if problem is None and outputs == 1:
        problem = "regression"
    if problem is None and labels.dtype in {torch.int64, torch.int32}:
        problem = "single_label_classification"
    if problem == "single_label_classification":
        labels = labels.reshape(-1).long()
        losses = F.cross_entropy(
            logits,
            labels,
            reduction="none",
            ignore_index=_IGNORED,
            label_smoothing=smoothing,
        )
        return {"losses": losses, "valid": labels != _IGNORED}
    targets = labels.reshape(logits.shape).float()
    if problem == "regression":
        return {"losses": F.mse_loss(logits, targets, reduction="none")}
    losses = F.binary_cross_entropy_with_logits(logits, targets, reduction="none")
    return {"losses": losses}


def span_losses(
    logits: tuple[Tensor, Tensor], positions: tuple[Tensor, Tensor]
) -> dict[str, Tensor]:
    """Return the cross entropies of where a span starts and where it ends.

    Parameters
    ----------
    logits : pair of Tensor of float, shape (B, T)
        Scores of the tokens as start and as end.
    positions : pair of Tensor of int64, shape (B,) or (B, 1)
        Where they are; beyond T is ignored.

    Returns
    -------
    dict of str to Tensor
        ``losses``, float32, and ``valid``, bool, of shape (B, 2): as `TED.loss` takes
        them.
    """
    length = logits[0].shape[1]
    where = [part.reshape(-1).clamp(0, length) for part in positions]
    losses = [
        F.cross_entropy(z.float(), part, reduction="none", ignore_index=length)
        for z, part in zip(logits, where, strict=True)
    ]
    return {
        "losses": torch.stack(losses, 1),
        "valid": torch.stack(where, 1) != length,
    }


def token_weights(losses: Tensor, valid: Tensor | None, items: Any = None) -> Tensor:
    """Return weights w_k with which the mean of the samples is that of the tokens.

    Parameters
    ----------
    losses : Tensor of float, shape (B, ...)
        Unreduced losses.
    valid : Tensor of bool, shape (B, ...), or None
        Which of them count.
    items : Tensor of int, shape (), or int, optional
        How many count in all batches of the optimizer step; by default in this one.

    Returns
    -------
    Tensor of float32, shape (B,)
        Weights w_k = B m_k / `items`, for a sample of m_k losses: the sum of w_k l_k
        over B is that of the losses over `items`. A sample of none weighs as one, for
        its loss is 0.

    Examples
    --------
    >>> import torch
    >>> from ted_torch.integrations._sample_losses import token_weights
    >>> valid = torch.tensor([[True, True], [True, False]])
    >>> token_weights(torch.ones(2, 2), valid, items=3)
    tensor([1.3333, 0.6667])
    """
    size = losses.shape[0]
    if valid is None:
        each = losses.numel() / max(size, 1)
        counts = torch.full((size,), each, device=losses.device)
    else:
        counts = valid.reshape(size, -1).sum(1).float()
    total = counts.sum() if items is None else items
    return counts.clamp(min=1) * size / total
