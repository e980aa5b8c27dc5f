"""What must be known of Hugging Face's models, and where their heads are."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from torch import Tensor, nn

__all__ = [
    "LANGUAGE",
    "SHIFTED",
    "SPANS",
    "TOKENS",
    "gives_numbers",
    "head_input",
    "kind_of",
    "router_loss",
]

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
