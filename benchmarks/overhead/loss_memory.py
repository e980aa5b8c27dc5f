"""Peak memory of steps on texts of which few tokens count, with TED and without.

``python benchmarks/overhead/loss_memory.py`` counts and writes the record: the bytes of
all tensors that are alive at once in training, beside those before it. ``--page`` only
rewrites the table of ``docs/adapters/huggingface.md`` from the record.
"""

from __future__ import annotations

import argparse
import json
import platform
import tempfile
import warnings
import weakref
from importlib.metadata import version
from pathlib import Path

import torch
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

import ted_core

__all__ = ["PAGE", "RECORD", "page", "table"]

ROOT = Path(__file__).resolve().parents[2]
RECORD = ROOT / "benchmarks/overhead/records/loss_memory.json"
PAGE = ROOT / "docs/adapters/huggingface.md"
BEGIN = "<!-- table: benchmarks/overhead/loss_memory.py --page -->\n"
END = "<!-- end of memory -->"
CONFIG = {
    "batch": 4,
    "tokens": 256,
    "of a response": 32,
    "words": 16_384,
    "hidden": 32,
    "dtype": "bfloat16",
    "tokens of a tile of TRL's": 32,
}
ARMS = ["Trainer", "TEDTrainer", "SFTTrainer", "SFTTrainer with TED"]


class Alive(TorchDispatchMode):
    """Count the bytes of the tensors made since it began, and the most at once."""

    def __init__(self):
        super().__init__()
        self.now = self.most = 0
        self._known = weakref.WeakSet()

    def _gone(self, size):
        self.now -= size

    def __torch_dispatch__(self, function, types, args=(), kwargs=None):
        """Run an operation, and count what it has made."""
        del types
        made = function(*args, **(kwargs or {}))
        old = {id(one.untyped_storage()) for one in _tensors((args, kwargs))}
        for one in _tensors(made):
            storage = one.untyped_storage()
            if id(storage) in old or storage in self._known:
                continue
            self._known.add(storage)
            self.now += storage.nbytes()
            self.most = max(self.most, self.now)
            weakref.finalize(storage, self._gone, storage.nbytes())
        return made


def _tensors(tree):
    return [one for one in tree_leaves(tree) if isinstance(one, torch.Tensor)]


def trainer(arm, folder):
    """Make the trainer of an arm."""
    # A page that is written anew needs none of them.
    from datasets import Dataset  # noqa: PLC0415
    from ted_torch.integrations.transformers import (  # noqa: PLC0415
        TEDTrainer,
        TEDTrainerMixin,
    )
    from tokenizers import Tokenizer, models  # noqa: PLC0415
    from transformers import (  # noqa: PLC0415
        LlamaConfig,
        LlamaForCausalLM,
        PreTrainedTokenizerFast,
        Trainer,
        TrainingArguments,
    )
    from trl import SFTConfig, SFTTrainer  # noqa: PLC0415
    from trl.kernels import chunked_logprob  # noqa: PLC0415

    class Tuning(TEDTrainerMixin, SFTTrainer):
        pass

    torch.set_num_threads(1)
    chunked_logprob.TOKEN_CHUNK_SIZE = CONFIG["tokens of a tile of TRL's"]
    torch.manual_seed(0)
    shape = 2 * CONFIG["batch"], CONFIG["tokens"]
    words = torch.randint(2, CONFIG["words"], shape)
    labels = words.clone()
    labels[:, : -CONFIG["of a response"]] = -100
    size, hidden = CONFIG["words"], CONFIG["hidden"]
    net = LlamaForCausalLM(
        LlamaConfig(
            vocab_size=size,
            hidden_size=hidden,
            intermediate_size=hidden,
            num_hidden_layers=1,
            num_attention_heads=2,
        )
    ).to(getattr(torch, CONFIG["dtype"]))
    shared = {
        "per_device_train_batch_size": CONFIG["batch"],
        "num_train_epochs": 2,
        "report_to": "none",
        "save_strategy": "no",
        "logging_strategy": "no",
        "disable_tqdm": True,
        "use_cpu": True,
        "dataloader_pin_memory": False,
    }
    columns = {"input_ids": words.tolist(), "labels": labels.tolist()}
    given = {"model": net, "train_dataset": Dataset.from_dict(columns)}
    with_ted = {"ted": {"prune_ratio": 0.0}} if "TED" in arm else {}
    if not arm.startswith("SFT"):
        given["train_dataset"] = given["train_dataset"].with_format("torch")
        kind = TEDTrainer if with_ted else Trainer
        return kind(args=TrainingArguments(folder, **shared), **given, **with_ted)
    plain = Tokenizer(models.WordLevel({"a": 0, "b": 1}))
    special = dict(zip(("pad_token", "eos_token"), "ab", strict=True))
    plain = PreTrainedTokenizerFast(tokenizer_object=plain, **special)
    args = SFTConfig(folder, bf16=False, gradient_checkpointing=False, **shared)
    kind = Tuning if with_ted else SFTTrainer
    return kind(args=args, processing_class=plain, **given, **with_ted)


def peak(arm):
    """Return the MiB of tensors that training has alive at most."""
    with tempfile.TemporaryDirectory() as folder, warnings.catch_warnings():
        warnings.simplefilter("ignore")
        run = trainer(arm, folder)
        with Alive() as alive:
            run.train()
        return round(alive.most / 2**20, 1)


def measure():
    """Count every arm, and write the record."""
    packages = ("torch", "transformers", "trl", "datasets")
    record = {
        "name": "Memory of a loss",
        "config": CONFIG,
        "versions": {"ted-core": ted_core.__version__}
        | {name: version(name) for name in packages}
        | {"python": platform.python_version()},
        "machine": {"device": "cpu", "threads": 1},
        "results": [{"arm": arm, "MiB": peak(arm)} for arm in ARMS],
    }
    RECORD.write_text(json.dumps(record, indent=1) + "\n", encoding="utf-8")


def table(record):
    """Return the record as a table of Markdown."""
    lines = ["| | peak, MiB |", "| --- | --- |"]
    lines += [f"| {row['arm']} | {row['MiB']:.0f} |" for row in record["results"]]
    return "\n".join(lines)


def page(text, record):
    """Return the page's text with its table made anew from the record."""
    before, _, rest = text.partition(BEGIN)
    _, _, after = rest.partition(END)
    return f"{before}{BEGIN}\n{table(record)}\n\n{END}{after}"


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--page", action="store_true", help="only rewrite the page")
    arguments = parser.parse_args()
    if not arguments.page:
        measure()
    record = json.loads(RECORD.read_text(encoding="utf-8"))
    text = PAGE.read_text(encoding="utf-8")
    PAGE.write_text(page(text, record), encoding="utf-8")


if __name__ == "__main__":
    main()
