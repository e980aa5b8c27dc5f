"""Tiny random models and a tokenizer, saved as folders that Hugging Face loads."""

from __future__ import annotations

import json

import numpy as np
import torch
from tokenizers import Tokenizer, models, pre_tokenizers
from transformers import (
    BertConfig,
    BertModel,
    LlamaConfig,
    LlamaForCausalLM,
    PreTrainedTokenizerFast,
)

WORDS = ["[PAD]", "[UNK]", "[EOS]", "A", "B", "C", "D", *"efghijklmnopqrstuvwxyz"]
SIZES = {"vocab_size": len(WORDS), "hidden_size": 16, "intermediate_size": 24}
SIZES |= {"num_hidden_layers": 3, "num_attention_heads": 2}


def tokenizer():
    """Give a tokenizer of single letters."""
    words = {word: place for place, word in enumerate(WORDS)}
    found = Tokenizer(models.WordLevel(words, unk_token="[UNK]"))  # noqa: S106
    found.pre_tokenizer = pre_tokenizers.Whitespace()
    return PreTrainedTokenizerFast(
        tokenizer_object=found,
        pad_token="[PAD]",  # noqa: S106
        unk_token="[UNK]",  # noqa: S106
        eos_token="[EOS]",  # noqa: S106
    )


def save(folder, kind):
    """Save a model, "bert" or "llama", and its tokenizer."""
    torch.manual_seed(0)
    if kind == "bert":
        config = BertConfig(**SIZES, max_position_embeddings=200)
        model = BertModel(config)
    else:
        config = LlamaConfig(**SIZES, max_position_embeddings=200, use_cache=False)
        model = LlamaForCausalLM(config)
    model.save_pretrained(folder)
    tokenizer().save_pretrained(folder)
    return folder


def write(path, rows):
    """Write one JSON object a line."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")


def text(dice, letters, longest=9):
    """Give a text of some of these letters."""
    return " ".join(dice.choice(list(letters), size=dice.integers(2, longest)))


def sentences(folder, *, scored=False, n=32):
    """Write a task: what a label means is which half of the alphabet is used."""
    dice = np.random.default_rng(0)
    for part in ("train", "dev"):
        rows = []
        for k in range(n):
            row = {"text": text(dice, ("efghijklmno", "pqrstuvwxyz")[k % 2])}
            row |= {"text2": text(dice, "efgxyz")} if scored else {}
            row |= {"score": 5.0 * (k % 2)} if scored else {"label": k % 2}
            rows.append(row)
        write(folder / "glue" / "task" / f"{part}.jsonl", rows)


def instructions(folder, n=60):
    """Write instructions whose responses repeat them, and MMLU of two subjects."""
    dice = np.random.default_rng(0)
    rows = []
    for k in range(n):
        words = text(dice, "efghijklm", 6)
        rows.append({"instruction": words, "input": "e" * (k % 2), "output": words})
    write(folder / "alpaca" / "train.jsonl", rows)
    for part in ("dev", "test"):
        asked = [
            {"subject": name, "question": "e", "choices": [*"efgh"], "answer": k % 4}
            for name in ("anatomy", "sociology")
            for k in range(3)
        ]
        write(folder / "mmlu" / f"{part}.jsonl", asked)
