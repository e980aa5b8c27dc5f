"""What the benchmarks of one host's steps share: turns, the record, its sentence."""

from __future__ import annotations

import argparse
import json
import os
import platform
from importlib.metadata import version
from pathlib import Path

import numpy as np
import torch
from step_summary import keep_memory, processor, summarise
from step_table import change

__all__ = ["line", "run"]

NAMES = {
    "plain again": "the same again",
    "ted": "with TED",
    "DataLoader": "without TED with PyTorch's `DataLoader`",
}
"""What the sentence calls each site that is compared with "plain"."""


def measure(fit, sites, rounds):
    """Let every round take each site once, in any order; the first warms up."""
    draw = np.random.default_rng(0)
    times = {site: {"wall": [], "cpu": []} for site in sites}
    for number in range(1 + rounds):
        for place in draw.permutation(len(sites)):
            wall, cpu = fit(sites[place])
            if number:
                times[sites[place]]["wall"].append(wall)
                times[sites[place]]["cpu"].append(cpu)
    return times


def line(record):
    """Give the sentence of the page: processor time, paired by round.

    Parameters
    ----------
    record : dict
        What `run` wrote.

    Returns
    -------
    str
        Markdown.
    """
    plain, *others = record["sites"]
    costs = []
    for site in others:
        ratio, extra = change(site["cpu"])
        costs.append(f"{NAMES[site['site']]} {ratio}, {extra} ms")
    return (
        f"A step of {plain['cpu']['median ms']:.1f} ms costs {'; '.join(costs)} "
        f"(medians of {record['config']['rounds']} rounds with their 95 % intervals)."
    )


def run(title, prepare, sites, packages, path, *, batch=128):
    """Measure and write a record, or print one, as the command line says.

    Parameters
    ----------
    title : str
        Name of the record.
    prepare : callable
        Takes the options; gives a function from a site to its milliseconds a step by
        both clocks, and what to add to the configuration.
    sites : list of str
        Of `NAMES`, compared with "plain".
    packages : list of str
        Distributions whose versions the record tells.
    path : Path
        The record.
    batch : int, default 128
        Samples of a step, unless the command line says otherwise.
    """
    parser = argparse.ArgumentParser(description=title)
    parser.add_argument("--rounds", type=int, default=30)
    parser.add_argument("--steps", type=int, default=40, help="steps of an epoch")
    parser.add_argument("--batch", type=int, default=batch)
    parser.add_argument("--out", type=Path, default=path)
    parser.add_argument("--table", type=Path, help="print this record and measure none")
    options = parser.parse_args()
    if options.table:
        print(line(json.loads(options.table.read_text(encoding="utf-8"))))
        return
    torch.set_num_threads(1)
    torch.manual_seed(0)
    kept, begun = keep_memory(), os.getloadavg()[0]
    fit, config = prepare(options)
    times = measure(fit, ["plain", *sites], options.rounds)
    fields = ["rounds", "steps", "batch"]
    record = {
        "name": title,
        "config": {field: getattr(options, field) for field in fields}
        | {"memory kept": kept}
        | config,
        "versions": {
            "python": platform.python_version(),
            **{name: version(name) for name in ["ted-core", "numpy", *packages]},
        },
        "machine": processor() | {"threads": torch.get_num_threads()},
        # Above 1 others shared the machine: then the processor's time counts.
        "load average, before and after": [
            round(begun, 2),
            round(os.getloadavg()[0], 2),
        ],
        "sites": summarise(times),
    }
    options.out.write_text(json.dumps(record, indent=1) + "\n", encoding="utf-8")
    print(line(record))
