"""The losses of Hugging Face's models, one a sample, before anything averages them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from functools import partial
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F  # noqa: N812
from transformers.models.auto.modeling_auto import (
    MODEL_FOR_CAUSAL_LM_MAPPING_NAMES,
    MODEL_FOR_MASKED_LM_MAPPING_NAMES,
    MODEL_FOR_MULTIPLE_CHOICE_MAPPING_NAMES,
    MODEL_FOR_SEQ_TO_SEQ_CAUSAL_LM_MAPPING_NAMES,
    MODEL_FOR_SPEECH_SEQ_2_SEQ_MAPPING_NAMES,
)

from ted_torch._row_order import random_states_kept

_IGNORED, _FLOAT = -100, 4
_cross_entropy = partial(F.cross_entropy, reduction="none", ignore_index=_IGNORED)

# Kinds of models by their `loss_type`. The scores at a token of the first are of the
# next one, unless they have an encoder.
SHIFTED = ("ForCausalLM", "ForConditionalGeneration")
LANGUAGE = (*SHIFTED, "ForMaskedLM")
TOKENS = (*LANGUAGE, "ForTokenClassification")
SPANS = "ForQuestionAnswering"
CHOICES = "ForMultipleChoice"
_CLASSES = (
    "ForSequenceClassification",
    "ForImageClassification",
    "ForVideoClassification",
    "ForAudioClassification",
    CHOICES,
)
# Models whose names do not say what they are for. Those of masked words come last and
# count: XLM is in two mappings, and does not shift.
_KINDS = {
    name: kind
    for kind, mapping in (
        (CHOICES, MODEL_FOR_MULTIPLE_CHOICE_MAPPING_NAMES),
        ("ForConditionalGeneration", MODEL_FOR_SPEECH_SEQ_2_SEQ_MAPPING_NAMES),
        ("ForConditionalGeneration", MODEL_FOR_SEQ_TO_SEQ_CAUSAL_LM_MAPPING_NAMES),
        ("ForCausalLM", MODEL_FOR_CAUSAL_LM_MAPPING_NAMES),
        ("ForMaskedLM", MODEL_FOR_MASKED_LM_MAPPING_NAMES),
    )
    for names in mapping.values()
    for name in ((names,) if isinstance(names, str) else names)
}
# Causal models that leave the shift of the labels to the user.
_UNSHIFTED = {
    f"{name}ForCausalLM"
    for name in (
        *("Bart", "BigBirdPegasus", "Blenderbot", "BlenderbotSmall", "CpmAnt"),
        *("MBart", "Marian", "Mvp", "PLBart", "Pegasus", "ProphetNet", "TrOCR"),
        "Whisper",
    )
} | {"XLNetLMHeadModel"}


def kind_of(model: Any) -> str:
    """Return the model's kind, whose losses of the samples must be known."""
    found, known = getattr(model, "loss_type", None), (*TOKENS, SPANS, *_CLASSES)
    if found is None:
        named = (
            next((kind for kind in known if kind in name), _KINDS.get(name))
            for name in _class_names(model)
        )
        found = next(filter(None, named), None)
    if found not in known:
        msg = (
            f"`model` must have a loss of {', '.join(known)}, got "
            f"{type(model).__name__} with {found}; override `sample_losses`"
        )
        raise TypeError(msg)
    return str(found)


def _class_names(model: Any) -> list[str]:
    """Return the names of a model's class and its bases, PEFT's wrapper taken off."""
    inside = getattr(model, "get_base_model", None)
    return [one.__name__ for one in type(inside() if inside else model).__mro__]


def shifts_labels(model: Any, kind: str) -> bool:
    """Tell whether the scores at a token are of the next one."""
    config = getattr(model, "config", None)
    if kind not in SHIFTED or getattr(config, "is_encoder_decoder", False):
        return False
    return _UNSHIFTED.isdisjoint(_class_names(model))


@contextmanager
def same_randomness(device: torch.device) -> Iterator[None]:
    """Leave the generators that models draw from as they were."""
    here = device.type not in {"cpu", "mps"}
    kind = device.type if here else "cuda"
    forked = torch.random.fork_rng([device] if here else [], device_type=kind)
    with random_states_kept(), forked:  # some models mask spectra with NumPy's
        yield


def token_losses(
    logits: Tensor, labels: Tensor, *, shift: bool, smoothing: float = 0.0
) -> dict[str, Tensor]:
    """Return the cross entropies of tokens, (B, T), and which of them are valid."""
    if logits.ndim != 3 or labels.shape != logits.shape[:2]:  # noqa: PLR2004
        msg = (
            f"`labels` must have the shape of the tokens, got {tuple(labels.shape)} "
            f"for logits of shape {tuple(logits.shape)}; override `sample_losses`"
        )
        raise ValueError(msg)
    if shift:
        labels = F.pad(labels, (0, 1), value=_IGNORED)[:, 1:]
    valid = labels != _IGNORED
    # The scores that count are copied, without a float of the others, where that takes
    # less memory. The wait for their number is not a trainer's only one in a step.
    index, rows = valid.flatten().nonzero()[:, 0], valid.numel()
    z, y = logits.flatten(0, 1), labels.flatten()
    floats = _FLOAT if z.dtype == torch.float32 else 2 * _FLOAT  # the cross entropy's
    if len(index) * z.element_size() >= (rows - len(index)) * floats:
        losses = _cross_entropy(z.float(), y, label_smoothing=smoothing)
    else:
        z, y = z.index_select(0, index), y[index]
        some = _cross_entropy(z.float(), y, label_smoothing=smoothing)
        losses = some.new_zeros(rows).index_copy(0, index, some)
    return {"losses": losses.view(valid.shape), "valid": valid}


def class_losses(
    logits: Tensor, labels: Tensor, *, problem: str | None, smoothing: float = 0.0
) -> dict[str, Tensor]:
    """Return the losses of classes, several classes at once, or numbers."""
    logits, outputs = logits.float(), logits.shape[-1]
    # As the models tell it themselves where the configuration does not.
    if problem is None and outputs == 1:
        problem = "regression"
    if problem is None and labels.dtype in {torch.int64, torch.int32}:
        problem = "single_label_classification"
    if problem == "single_label_classification":
        labels = labels.reshape(-1).long()
        losses = _cross_entropy(logits, labels, label_smoothing=smoothing)
        return {"losses": losses, "valid": labels != _IGNORED}
    targets = labels.reshape(logits.shape).float()
    if problem == "regression":
        return {"losses": F.mse_loss(logits, targets, reduction="none")}
    losses = F.binary_cross_entropy_with_logits(logits, targets, reduction="none")
    return {"losses": losses}


def span_losses(
    logits: tuple[Tensor, Tensor], positions: tuple[Tensor, Tensor]
) -> dict[str, Tensor]:
    """Return the cross entropies of a span's start and end, (B, 2), and which count."""
    length = logits[0].shape[1]
    # A position outside of the tokens is ignored.
    where = [part.reshape(-1).clamp(0, length) for part in positions]
    losses = [
        _cross_entropy(z.float(), part, ignore_index=length)
        for z, part in zip(logits, where, strict=True)
    ]
    return {"losses": torch.stack(losses, 1), "valid": torch.stack(where, 1) != length}


def token_weights(counts: Tensor, items: Any = None) -> Tensor:
    """Return weights with which the mean over samples is the one over tokens."""
    # B m_k / items for a sample of m_k losses; `items` are all of the optimizer step. A
    # sample of none weighs as one, for its loss is 0.
    total = counts.sum() if items is None else items
    return counts.clamp(min=1) * counts.numel() / total


def router_loss(outputs: Any, owner: Any) -> Tensor | None:
    """Return what a mixture of experts adds to its loss to balance them."""
    loss = outputs.get("aux_loss") if isinstance(outputs, Mapping) else None
    factor = getattr(owner, "router_aux_loss_coef", None)
    if loss is None or factor is None:
        return None
    balance: Tensor = factor * loss
    return balance
