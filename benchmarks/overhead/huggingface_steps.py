"""Time steps of Hugging Face's Trainer and Accelerate, without TED and with it.

`python benchmarks/overhead/huggingface_steps.py` writes the record;
`--table FILE` prints it.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import tempfile
import time
import warnings
from pathlib import Path

import accelerate
import numpy as np
import torch
import transformers
from huggingface_table import markdown
from step_summary import keep_memory, processor, summarise
from ted_torch.integrations.accelerate import AcceleratedTED
from ted_torch.integrations.transformers import TEDTrainer
from torch.nn import functional as F  # noqa: N812
from torch.utils.data import DataLoader, Dataset

import ted_core

RECORD = Path(__file__).parent / "records" / "huggingface_steps.json"
SITES = ["plain", "plain again", "TED"]
WORDS, LENGTH, EPOCHS = 4096, 32, 2
SMALL = {
    "vocab_size": WORDS,
    "hidden_size": 128,
    "intermediate_size": 512,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
}
# Everything is kept: what is timed is the step, not what is saved.
OPTIONS = {"prune_ratio": 0.0, "signal": "mask_gradient"}


class Texts(Dataset):
    """Random texts, with a class each or to be told word by word."""

    def __init__(self, n, *, told):
        self.words = torch.randint(0, WORDS, (n, LENGTH))
        self.labels = self.words if told else self.words[:, 0] % 2

    def __len__(self):
        return len(self.words)

    def __getitem__(self, k):
        return {"input_ids": self.words[k], "labels": self.labels[k]}


def classifier():
    config = transformers.BertConfig(**SMALL, num_labels=2)
    return transformers.BertForSequenceClassification(config)


def language():
    return transformers.LlamaForCausalLM(transformers.LlamaConfig(**SMALL))


class Clock(transformers.TrainerCallback):
    """Note both clocks at the end of each step."""

    def __init__(self):
        self.times = []

    def on_step_end(self, *_, **__):
        """Note the times."""
        self.times.append((time.perf_counter(), time.process_time()))


def between(times):
    """Give the median milliseconds from a step to the next of its epoch, by clock."""
    epochs = np.array(times).reshape(EPOCHS, -1, 2)
    return 1000 * np.median(np.diff(epochs, axis=1).reshape(-1, 2), axis=0)


def with_trainer(make, data, batch, site):
    """Train with the host's trainer."""
    clock = Clock()
    with tempfile.TemporaryDirectory() as folder, warnings.catch_warnings():
        # Two epochs save little, and nothing here.
        warnings.simplefilter("ignore", ted_core.TedWarning)
        args = transformers.TrainingArguments(
            folder,
            num_train_epochs=EPOCHS,
            per_device_train_batch_size=batch,
            logging_strategy="no",
            save_strategy="no",
            report_to="none",
            disable_tqdm=True,
            use_cpu=True,
            dataloader_pin_memory=False,
        )
        given = {"model": make(), "args": args, "train_dataset": data}
        given["callbacks"] = [clock]
        if site == "TED":
            trainer = TEDTrainer(**given, ted=OPTIONS)
        else:
            trainer = transformers.Trainer(**given)
        trainer.log = lambda *_, **__: None
        trainer.train()
    return between(clock.times)


def with_accelerate(make, data, batch, site):
    """Train in a loop of one's own."""
    accelerator, clock = accelerate.Accelerator(cpu=True), Clock()
    model = make()
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-4, foreach=True)
    if site == "TED":
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", ted_core.TedWarning)
            ted = AcceleratedTED(
                accelerator, data, epochs=EPOCHS, batch_size=batch, **OPTIONS
            )
        loader = DataLoader(ted.dataset, batch, sampler=ted.sampler)
    else:
        loader = DataLoader(data, batch, shuffle=True)
    model, optimizer, loader = accelerator.prepare(model, optimizer, loader)
    for epoch in range(EPOCHS):
        if site == "TED":
            ted.set_epoch(epoch)
        for step in loader:
            ids, columns = step if site == "TED" else (None, step)
            logits = model(input_ids=columns["input_ids"]).logits
            labels = columns["labels"]
            kind = "mean" if ids is None else "none"
            loss = F.cross_entropy(logits, labels, reduction=kind)
            if ids is not None:
                loss = ted.loss(loss, mask=logits, ids=ids)
            accelerator.backward(loss)
            optimizer.step()
            optimizer.zero_grad()
            clock.on_step_end()
    return between(clock.times)


RUNS = {
    "Trainer, BERT classifier": (with_trainer, classifier, 16),
    "Trainer, Llama language model": (with_trainer, language, 8),
    "Accelerate, BERT classifier": (with_accelerate, classifier, 16),
}


def measure(name, options):
    """Time one host and model: every round takes each site once, in any order."""
    run, make, batch = RUNS[name]
    torch.manual_seed(0)
    data = Texts(batch * options.steps, told=make is language)
    draw, begun = np.random.default_rng(0), os.getloadavg()[0]
    times = {site: {"wall": [], "cpu": []} for site in SITES}
    for number in range(options.rounds + 1):
        for place in draw.permutation(len(SITES)):
            wall, cpu = run(make, data, batch, SITES[place])
            if number:
                times[SITES[place]]["wall"].append(float(wall))
                times[SITES[place]]["cpu"].append(float(cpu))
    return {
        "run": name,
        "batch": batch,
        "parameters": sum(p.numel() for p in make().parameters()),
        "rounds": options.rounds,
        "steps of each round": EPOCHS * (options.steps - 1),
        "sites": summarise(times),
        # Above 1 others shared the machine: then the processor's time counts.
        "load average, before and after": [
            round(begun, 2),
            round(os.getloadavg()[0], 2),
        ],
    }


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--runs", nargs="+", choices=RUNS, default=list(RUNS))
    parser.add_argument("--rounds", type=int, default=40)
    parser.add_argument("--steps", type=int, default=20, help="steps of an epoch")
    parser.add_argument("--out", type=Path, default=RECORD)
    parser.add_argument("--table", type=Path, help="print this record and measure none")
    options = parser.parse_args()
    if options.table:
        print(markdown(json.loads(options.table.read_text(encoding="utf-8"))))
        return
    torch.set_num_threads(1)
    record = {
        "name": "Hugging Face step",
        "config": {
            "epochs": EPOCHS,
            "length": LENGTH,
            "network": SMALL,
            "memory kept": keep_memory(),
        },
        "versions": {
            "ted-core": ted_core.__version__,
            "python": platform.python_version(),
            "torch": torch.__version__,
            "transformers": transformers.__version__,
            "accelerate": accelerate.__version__,
        },
        "machine": processor() | {"threads": torch.get_num_threads()},
        "results": [measure(name, options) for name in options.runs],
    }
    options.out.write_text(json.dumps(record, indent=1) + "\n", encoding="utf-8")
    print(markdown(record))


if __name__ == "__main__":
    main()
