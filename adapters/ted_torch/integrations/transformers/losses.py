"""The losses of Hugging Face's models, one a sample, before anything averages them."""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812

from ted_core import TedWarning
from ted_core.config import RunConfig

__all__ = [
    "LANGUAGE",
    "SHIFTED",
    "SPANS",
    "TOKENS",
    "check_signal",
    "class_losses",
    "gives_numbers",
    "head_input",
    "kind_of",
    "router_loss",
    "span_losses",
    "token_losses",
    "token_weights",
    "warn_numbers",
]

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
    >>> from ted_torch.integrations.transformers.losses import token_weights
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


SHIFTED = ("ForCausalLM", "ForConditionalGeneration")


"""Models whose scores at a token are of the next one, unless they have an encoder."""


LANGUAGE = (*SHIFTED, "ForMaskedLM")


"""Models whose last layer is a head over a vocabulary."""


TOKENS = (*LANGUAGE, "ForTokenClassification")


"""Models with a label for each token."""


SPANS = "ForQuestionAnswering"


"""Models with a start and an end of a span."""


_CLASSES = (
    "ForSequenceClassification",
    "ForImageClassification",
    "ForVideoClassification",
    "ForAudioClassification",
)


def kind_of(model: Any) -> str:
    """Return which loss a model trains with, after the last part of its name.

    Parameters
    ----------
    model : transformers.PreTrainedModel
        Or a PEFT model around one.

    Returns
    -------
    str
        A name such as ``"ForCausalLM"``; its `loss_type`.

    Raises
    ------
    TypeError
        The losses of the samples are not known for it.
    """
    found = getattr(model, "loss_type", None)
    known = (*TOKENS, SPANS, *_CLASSES)
    if found not in known:
        msg = (
            f"`model` must have a loss of {', '.join(known)}, got "
            f"{type(model).__name__} with {found}; override `sample_losses`"
        )
        raise TypeError(msg)
    return str(found)


def gives_numbers(model: Any) -> bool:
    """Tell whether a model of whole samples is trained on numbers.

    Parameters
    ----------
    model : transformers.PreTrainedModel
        Or a PEFT model around one.

    Returns
    -------
    bool
        As the model itself tells a regression before it has seen labels.
    """
    config = getattr(model, "config", None)
    problem = getattr(config, "problem_type", None)
    if problem is None:
        return getattr(config, "num_labels", 0) == 1
    return bool(problem == "regression")


@contextmanager
def head_input(head: nn.Module | None) -> Iterator[list[Tensor]]:
    """Watch what a head over the vocabulary is given, during one forward pass.

    Parameters
    ----------
    head : torch.nn.Module or None
        ``model.get_output_embeddings()``; None watches nothing.

    Yields
    ------
    list of Tensor of float, shape (B, T, d)
        The last hidden state, once the forward pass has come to the head.
    """
    found: list[Tensor] = []
    if head is None:
        yield found
        return

    def keep(_: nn.Module, given: tuple[Any, ...]) -> None:
        found.append(given[0])

    handle = head.register_forward_pre_hook(keep)
    try:
        yield found
    finally:
        handle.remove()


def router_loss(outputs: Any, model: Any) -> Tensor | None:
    """Return what a mixture of experts adds to its loss to balance them.

    Parameters
    ----------
    outputs : transformers.utils.ModelOutput
        The model's.
    model : transformers.PreTrainedModel
        Has the factor.

    Returns
    -------
    Tensor of float, shape (), or None
        None for models without.
    """
    loss, factor = outputs.get("aux_loss"), getattr(model, "router_aux_loss_coef", None)
    if loss is None or factor is None:
        return None
    balance: Tensor = factor * loss
    return balance


def check_signal(labels: str, config: RunConfig) -> None:
    """Refuse a signal of classes for a model without one class a sample.

    Parameters
    ----------
    labels : str
        What the model has instead.
    config : RunConfig
        The run.

    Raises
    ------
    ValueError
        The signal has no meaning for it.
    """
    ranked = config.strategy.uses_scores
    if ranked and config.signal not in {"mask_gradient", "loss"}:
        msg = (
            f"`signal` must be 'mask_gradient' or 'loss' for a model of {labels}, got "
            f"{config.signal!r}; override `sample_losses`"
        )
        raise ValueError(msg)


def warn_numbers(config: RunConfig) -> None:
    """Warn of the mask gradient at the output of a model of numbers.

    Parameters
    ----------
    config : RunConfig
        The run.

    Warns
    -----
    TedWarning
        Samples would be ranked by z (z - y): a prediction near 0 ranks low however
        wrong it is.
    """
    if config.strategy.uses_scores and config.signal == "mask_gradient":
        msg = (
            "the mask gradient at the output of a regression is 2 z (z - y), low for "
            "each prediction near 0: take ted={'signal': 'loss', ...}, or override "
            "`sample_losses` with another site"
        )
        warnings.warn(msg, TedWarning, stacklevel=4)
