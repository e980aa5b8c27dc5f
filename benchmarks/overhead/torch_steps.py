"""Time whole PyTorch training steps without TED and with it, at each site of the mask.

`python benchmarks/overhead/torch_steps.py` writes the record; `--table FILE` prints it.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import time
from contextlib import nullcontext
from pathlib import Path

import numpy as np
import torch
from networks import NETWORKS
from step_parts import added_operations, closing_costs, device_evidence, profile_parts
from step_summary import processor, summarise
from step_table import markdown
from ted_torch import TED
from torch.nn import functional as F  # noqa: N812

import ted_core

RECORD = Path(__file__).parent / "records" / "torch_steps.json"
MASKED = ["logits", "feature", "first convolution", "input"]
SITES = ["plain", "plain again", "unreduced losses", *MASKED]
STEPS = {"small": 400, "large": 120, "resnet18": 200}
WARM, SAMPLES = 10, 50_000


class Steps:
    """One network and one batch; ``steps(site)`` trains one step.

    Parameters
    ----------
    network : str
        Name in ``NETWORKS``.
    options : argparse.Namespace
        Batch, device, dtype, compile, channels_last.
    """

    def __init__(self, network, options):
        torch.manual_seed(0)
        self.device = torch.device(options.device)
        layout = (
            torch.channels_last if options.channels_last else torch.contiguous_format
        )
        self.net = NETWORKS[network]().to(self.device, memory_format=layout)
        self.optimizer = torch.optim.SGD(self.net.parameters(), lr=0.01, momentum=0.9)
        x = torch.randn(options.batch, 3, 32, 32, device=self.device)
        self.x = x.to(memory_format=layout)
        self.y = torch.randint(0, 10, (options.batch,), device=self.device)
        wrap = torch.compile if options.compile else lambda part: part
        net = self.net
        # What a user compiles: the network, or what lies before and after the mask.
        self.whole, self.head = wrap(net), wrap(net.head)
        self.features = wrap(lambda x: net.body(net.stem(x)))
        self.stem, self.rest = wrap(net.stem), wrap(lambda a: net.head(net.body(a)))
        self.half = options.dtype == "bfloat16"
        self.teds = {}
        for site in MASKED:
            self.teds[site] = TED(range(SAMPLES), epochs=10, device=self.device)
            self.teds[site].set_epoch(0)
        order = torch.randperm(SAMPLES)
        ids = order[: SAMPLES - SAMPLES % options.batch].view(-1, options.batch)
        self.ids = ids.pin_memory() if self.device.type == "cuda" else ids
        self.count = 0

    def forward(self, site, ids):
        """Return the logits of the batch, with the mask in its place."""
        ted = self.teds.get(site)
        if site == "feature":
            return self.head(ted.mask(self.features(self.x), ids=ids))
        if site == "first convolution":
            return self.rest(ted.mask(self.stem(self.x), ids=ids))
        if site == "input":
            return self.whole(ted.mask(self.x, ids=ids))
        return self.whole(self.x)

    def __call__(self, site):
        """Train one step."""
        # A loader would give each batch in memory of its own.
        ids = self.ids[self.count % len(self.ids)]
        self.count += 1
        self.optimizer.zero_grad()
        half = torch.autocast(self.device.type, torch.bfloat16)
        with half if self.half else nullcontext():
            z = self.forward(site, ids)
            kind = "mean" if site.startswith("plain") else "none"
            loss = F.cross_entropy(z, self.y, reduction=kind)
        if site in self.teds:
            mask = z if site == "logits" else None
            loss = self.teds[site].loss(loss, mask=mask, ids=ids)
        elif kind == "none":
            loss = loss.mean()
        loss.backward()
        self.optimizer.step()


def time_steps(steps, rounds):
    """Give the milliseconds of each site: every round takes each once, in any order."""
    draw = np.random.default_rng(0)
    cuda = steps.device.type == "cuda"
    times = {site: {"wall": [], "cpu": []} for site in SITES}
    events = {site: [] for site in SITES}
    for number in range(WARM + rounds):
        for place in draw.permutation(len(SITES)):
            site = SITES[place]
            marks = [torch.cuda.Event(enable_timing=True) for _ in range(2 * cuda)]
            wall, cpu = time.perf_counter(), time.process_time()
            if cuda:
                marks[0].record()
            steps(site)
            if cuda:
                marks[1].record()
            cpu, wall = time.process_time() - cpu, time.perf_counter() - wall
            if number >= WARM:
                times[site]["wall"].append(1000 * wall)
                times[site]["cpu"].append(1000 * cpu)
                events[site].append(marks)
    if cuda:
        torch.cuda.synchronize()
        for site, pairs in events.items():
            # Of the host's clock only the launches are left: the device works on.
            times[site]["launch"] = times[site].pop("wall")
            times[site]["device"] = [first.elapsed_time(last) for first, last in pairs]
    return times


def measure(network, options):
    """Time one network's steps and look into them."""
    begun = os.getloadavg()[0]
    steps = Steps(network, options)
    rounds = options.steps or STEPS[network]
    result = {
        "network": network,
        "parameters": sum(p.numel() for p in steps.net.parameters()),
        "steps of each site": rounds,
        "sites": summarise(time_steps(steps, rounds)),
        # Above 1 others shared the machine: then the processor's time counts.
        "load average, before and after": [
            round(begun, 2),
            round(os.getloadavg()[0], 2),
        ],
    }
    if options.device == "cpu":
        result["microseconds by function"] = profile_parts(steps, min(rounds, 100))
    else:
        result["device"] = device_evidence(steps, SITES)
    return result


def machine(options):
    """Describe what the numbers were measured on."""
    found = processor() | {"threads": torch.get_num_threads()}
    if options.device == "cuda":
        found |= {"gpu": torch.cuda.get_device_name(), "cuda": torch.version.cuda}
    return found


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--network", nargs="+", choices=NETWORKS)
    parser.add_argument("--small", action="store_true", help="a quick look only")
    parser.add_argument("--steps", type=int, help="steps of each site")
    parser.add_argument("--batch", type=int, default=128)
    parser.add_argument("--device", choices=["cpu", "cuda"], default="cpu")
    parser.add_argument("--dtype", choices=["float32", "bfloat16"], default="float32")
    parser.add_argument("--compile", action="store_true")
    parser.add_argument("--channels-last", action="store_true")
    parser.add_argument("--out", type=Path, default=RECORD)
    parser.add_argument("--table", type=Path, help="print this record and measure none")
    options = parser.parse_args()
    if options.table:
        print(markdown(json.loads(options.table.read_text(encoding="utf-8"))))
        return
    torch.set_num_threads(1)
    networks = options.network or (["small"] if options.small else ["small", "large"])
    sizes = [5_000] if options.small else [50_000, 1_280_000]
    fields = ["batch", "device", "dtype", "compile", "channels_last"]
    record = {
        "name": "PyTorch step",
        "config": {field: getattr(options, field) for field in fields}
        | {"networks": networks, "samples": SAMPLES, "image": [3, 32, 32]},
        "versions": {
            "ted-core": ted_core.__version__,
            "python": platform.python_version(),
            "numpy": np.__version__,
            "torch": torch.__version__,
        },
        "machine": machine(options),
        "results": [measure(network, options) for network in networks],
        "operations a step adds": added_operations(Steps, MASKED),
        "set_epoch": [closing_costs(n, options.device) for n in sizes],
    }
    options.out.write_text(json.dumps(record, indent=1) + "\n", encoding="utf-8")
    print(markdown(record))


if __name__ == "__main__":
    main()
