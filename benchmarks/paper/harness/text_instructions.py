"""Instructions to be followed by a causal language model, tuned by LoRA."""

from __future__ import annotations

import copy
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from harness.text_data import Ragged, batches, read_rows
from harness.text_mmlu import evaluate, read_questions
from harness.text_models import keep_upper, load_model, load_tokenizer, trained
from harness.text_packing import Packed
from peft import LoraConfig, get_peft_model
from ted_torch import segment_losses, segment_mask
from ted_torch._losses import per_sample
from torch import nn
from torch.nn import functional as F  # noqa: N812 - PyTorch's own habit

__all__ = ["PACKAGES", "Task", "labels", "load"]

PACKAGES = ("transformers", "peft")
TEST_BATCH = 32
ASKED = "### Instruction:\n{instruction}\n\n### Response:\n"
ASKED_OF = "### Instruction:\n{instruction}\n\n### Input:\n{input}\n\n### Response:\n"


@dataclass(frozen=True)
class Instructions:
    """Tokens, with what lower layers gave for them if these are cut off."""

    model: nn.Module
    train: Ragged
    test: Ragged
    given: tuple[Ragged, Ragged] | None
    questions: Any


def load(config, arguments):
    """Return the instructions, tokenised, and the model as it was published.

    ``DATA/alpaca/train.jsonl``: objects with ``instruction``, ``input``, ``output``.
    The first that are not longer than `length` tokens are trained on, the next tested.
    """
    data, training = config["data"], config["training"]
    source = training["model"], arguments.model
    tokenizer = load_tokenizer(*source)
    wanted = data["samples"] + data["tests"]
    found = []
    for row in read_rows(arguments.data_dir, data["set"], "train"):
        tokens = encode(tokenizer, row)
        if len(tokens) <= data["length"] and len(found) < wanted:
            found.append(tokens)
    if len(found) < wanted:
        message = f"`samples` and `tests` ask for {wanted} sequences, got {len(found)}"
        raise SystemExit(message)
    parts = [Ragged(found[: data["samples"]]), Ragged(found[data["samples"] :])]
    model = load_model(*source, precision=training.get("precision"))
    upper, given = training.get("trained_layers"), None
    if upper:
        given = keep_upper(model, upper, parts, lambda x: {"input_ids": x[..., 0]})
        given = tuple(part.to(arguments.device) for part in given)
    train, test = (part.to(arguments.device) for part in parts)
    questions = None
    if "mmlu_shots" in training:
        shots = training["mmlu_shots"]
        questions = read_questions(arguments.data_dir, tokenizer, shots=shots)
    return Instructions(model, train, test, given, questions)


def encode(tokenizer, row):
    """Return tokens and whether they are the response's, shape (T, 2)."""
    asked = (ASKED_OF if row["input"] else ASKED).format(**row)
    prompt = tokenizer(asked, add_special_tokens=False)["input_ids"]
    answer = tokenizer(row["output"], add_special_tokens=False)["input_ids"]
    answer = [*answer, tokenizer.eos_token_id]
    own = [0] * len(prompt) + [1] * len(answer)
    return torch.tensor([prompt + answer, own]).T


def labels(data):
    return np.zeros(len(data.train), np.int64)


class Task:
    """A model whose LoRA weights are trained; see ``harness.tasks``.

    The head sees the response's tokens alone, and the mask stands at its input.

    Parameters
    ----------
    data : Instructions
        What to train on, and the model to start from.
    training : dict
        The configuration's table of that name.
    seed, device : int, str
        Seed of the LoRA weights and of dropout, and where.
    """

    classes = None

    def __init__(self, data, training, *, seed, device):
        self._data, self._setup, self._seed = data, training, seed
        options = {"r": training["rank"], "lora_alpha": 2 * training["rank"]}
        options |= {"lora_dropout": training.get("dropout", 0.0)}
        options |= {"target_modules": training["targets"]}
        config = LoraConfig(task_type="CAUSAL_LM", **options)
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            self._tuned = get_peft_model(copy.deepcopy(data.model), config)
        self._tuned.to(device)
        base = self._tuned.get_base_model()
        if training.get("checkpointing"):
            options = {"use_reentrant": False}
            base.activation_checkpointing_enable(options)
        self._model, self._body = base, base.base_model
        self._head = base.get_output_embeddings()

    def parameters(self):
        return list(trained(self._tuned).values())

    def begin(self, epoch):
        self._tuned.train()
        torch.manual_seed(self._seed * 1000 + epoch)  # dropout's generator

    def batches(self, order, epoch):
        own = {"seed": self._seed, "epoch": epoch}
        return batches(order, self._data.train.lengths, self._setup, **own)

    def losses(self, ids, source):
        losses, mask = self._forward(0, ids, lambda x: source.enter(x, ids))
        return losses, {"logits": None, "labels": None, "feature": mask}

    def _forward(self, part, ids, enter=None):
        """Return each sequence's mean loss over its response, and where to mask."""
        data = self._data
        tokens, valid = (data.train, data.test)[part].padded(ids)
        if data.given is None:
            words = self._model.get_input_embeddings()(tokens[..., 0])
        else:
            words = data.given[part].padded(ids)[0]
        words = words if enter is None else enter(words)
        # What comes next, and whether it belongs to the response.
        following = tokens[:, 1:]
        answers = (following[..., 1] == 1) & valid[:, 1:]
        if not self._setup.get("packing"):
            hidden = self._body(inputs_embeds=words, attention_mask=valid.long())
            mask = hidden = hidden.last_hidden_state
            losses = self._token_losses(hidden[:, :-1], following[..., 0], answers)
            return per_sample(losses, valid=answers), mask
        pack = Packed(valid.sum(1).cpu(), self._setup["packing"]).to(words.device)
        states = self._body(inputs_embeds=pack(words), position_ids=pack.positions)
        rows, mask = segment_mask(states.last_hidden_state, pack.segments, len(ids))
        last = F.pad(following, (0, 0, 0, 1)), F.pad(answers, (0, 1))
        following, answers = (pack(each) for each in last)
        answers &= pack.segments >= 0
        losses = self._token_losses(rows, following[..., 0], answers)
        return segment_losses(losses, pack.segments, len(ids), valid=answers), mask

    def _token_losses(self, hidden, targets, wanted):
        """Return losses of the wanted tokens, 0 at the others."""
        logits = self._head(hidden[wanted]).float()
        losses = F.cross_entropy(logits, targets[wanted], reduction="none")
        return losses.new_zeros(wanted.shape).masked_scatter(wanted, losses)

    @torch.no_grad()
    def _mean(self, part, order):
        self._tuned.eval()
        found = [self._forward(part, some)[0] for some in order.split(TEST_BATCH)]
        return float(torch.cat(found).mean())

    def mean_loss(self, ids):
        return self._mean(0, ids)

    def result(self):
        """Return the held-out response loss, and MMLU if it is asked for."""
        order = self._data.test.lengths.argsort()
        out = {"response_loss": round(self._mean(1, order), 5)}
        if self._data.questions is not None:
            self._tuned.eval()
            found = evaluate(self._model, self._data.questions)
            out |= {"mmlu": found["average"], "mmlu_groups": found}
        return out

    def state_dict(self):
        return {n: p.detach() for n, p in trained(self._tuned).items()}

    def load_state_dict(self, state):
        with torch.no_grad():
            for name, value in trained(self._tuned).items():
                value.copy_(state[name])
