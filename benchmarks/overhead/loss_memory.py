"""Peak memory of a step on texts of which few tokens count, with TED and without.

``python benchmarks/overhead/loss_memory.py`` measures and writes the record, each run in
a process of its own; ``--page`` rewrites the table of ``docs/adapters/huggingface.md``
from the record.
"""

from __future__ import annotations

import argparse
import json
import platform
import resource
import statistics
import subprocess
import sys
import tempfile
from importlib.metadata import version
from pathlib import Path

from step_summary import processor

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
    "processes": 3,
}
ARMS = ["Trainer", "TEDTrainer", "SFTTrainer", "SFTTrainer with TED"]


def resident():
    """Return the memory of this process now, in bytes."""
    pages = int(Path("/proc/self/statm").read_text(encoding="utf-8").split()[1])
    return pages * resource.getpagesize()


def trainer(arm, folder):
    """Make the trainer of an arm."""
    # Each process has only what it measures, and this script's own has neither.
    import torch  # noqa: PLC0415
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
    plain = PreTrainedTokenizerFast(
        tokenizer_object=Tokenizer(models.WordLevel({"a": 0, "b": 1}, unk_token="a")),
        pad_token="a",
        eos_token="b",
    )
    args = SFTConfig(folder, bf16=False, gradient_checkpointing=False, **shared)
    kind = Tuning if with_ted else SFTTrainer
    return kind(args=args, processing_class=plain, **given, **with_ted)


def peak(arm):
    """Return the bytes that training takes at most beside what is there before it."""
    with tempfile.TemporaryDirectory() as folder:
        run = trainer(arm, folder)
        before = resident()
        run.train()
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024 - before


def measure():
    """Run every arm in processes of its own, in turns, and write the record."""
    found = {arm: [] for arm in ARMS}
    for _ in range(CONFIG["processes"]):
        for arm, values in found.items():
            command = [sys.executable, "-W", "ignore", __file__, "--arm", arm]
            printed = subprocess.run(
                command, check=True, capture_output=True, text=True
            ).stdout
            values.append(round(int(printed.split()[-1]) / 2**20, 1))
    packages = ("torch", "transformers", "trl", "datasets")
    record = {
        "name": "Memory of a loss",
        "config": CONFIG,
        "versions": {"ted-core": ted_core.__version__}
        | {name: version(name) for name in packages}
        | {"python": platform.python_version()},
        "machine": {"cpu": processor(), "threads": 1, "device": "cpu"},
        "results": [
            {
                "arm": arm,
                "MiB": values,
                "n": len(values),
                "mean": round(statistics.mean(values), 1),
                "sd": round(statistics.stdev(values), 1),
            }
            for arm, values in found.items()
        ],
    }
    RECORD.write_text(json.dumps(record, indent=1) + "\n", encoding="utf-8")


def table(record):
    """Return the record as a table of Markdown."""
    lines = ["| | peak, MiB | sd |", "| --- | --- | --- |"]
    lines += [
        f"| {row['arm']} | {row['mean']:.0f} | {row['sd']:.1f} |"
        for row in record["results"]
    ]
    return "\n".join(lines)


def page(text, record):
    """Return the page's text with its table made anew from the record."""
    before, _, rest = text.partition(BEGIN)
    _, _, after = rest.partition(END)
    return f"{before}{BEGIN}\n{table(record)}\n\n{END}{after}"


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--arm", choices=ARMS, help="print the peak of one, in bytes")
    parser.add_argument("--page", action="store_true", help="only rewrite the page")
    arguments = parser.parse_args()
    if arguments.arm:
        print(peak(arguments.arm))
        return
    if not arguments.page:
        measure()
    record = json.loads(RECORD.read_text(encoding="utf-8"))
    text = PAGE.read_text(encoding="utf-8")
    PAGE.write_text(page(text, record), encoding="utf-8")


if __name__ == "__main__":
    main()
