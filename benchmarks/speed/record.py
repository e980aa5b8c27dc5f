"""Write benchmarks/speed/records/core.json: seconds and bytes of the core at each n."""

from __future__ import annotations

import argparse
import json
import os
import platform
import statistics
import tempfile
from functools import partial
from pathlib import Path
from time import perf_counter

import numpy as np
import torch

import ted_core as ted

RECORD = Path(__file__).parent / "records" / "core.json"


def timed(call):
    start = perf_counter()
    result = call()
    return perf_counter() - start, result


def reload(pruner, path):
    pruner.load_state_dict(ted.load_state(path))


def measure(n, repeats, folder):
    """Run every operation in turn, so that a slow moment hits all of them."""
    seconds = {}

    def note(name, pair):
        seconds.setdefault(name, []).append(pair[0])
        return pair[1]

    scores = np.random.default_rng(0).random(n, dtype=np.float32)
    ones, path = np.ones(n, np.uint8), folder / "state.npz"
    for _ in range(repeats):
        pruner = ted.Pruner(n, epochs=10)
        note("plan and order, epoch 0 (all kept)", timed(pruner.plan))
        pruner.observe_sums(scores, ones)
        note("advance", timed(pruner.advance))
        plan = note("plan and order, epoch 1", timed(pruner.plan))
        batches = [plan.order[i : i + 128] for i in range(0, min(n, 128_000), 128)]
        values = np.ones(128, np.float32)
        pruner.observe(batches[0], values[: batches[0].size])
        start = perf_counter()
        for ids in batches:
            pruner.observe(ids, values[: ids.size])
        per_batch = (perf_counter() - start) / len(batches)
        seconds.setdefault("observe 128 ids", []).append(per_batch)
        pruner = ted.Pruner(n, epochs=10)
        pruner.observe_sums(scores, ones)
        pruner.advance()
        state = pruner.state_dict()
        note("save", timed(partial(ted.save_state, path, state)))
        note("load", timed(partial(reload, pruner, path)))
        resident = sum(v.nbytes for k, v in state.items() if k.startswith("book."))
        kept = len(plan)
        note("torch.randperm(n)", timed(lambda: torch.randperm(n)))
        note("torch.randperm(n).tolist()", timed(lambda: torch.randperm(n).tolist()))
        note("np.partition", timed(partial(np.partition, scores, n - kept)))
    return {
        "n": n,
        "repeats": repeats,
        "kept in epoch 1": kept,
        "bytes a sample between epochs": resident / n,
        "checkpoint bytes": path.stat().st_size,
        "median seconds": {k: statistics.median(v) for k, v in seconds.items()},
    }


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--sizes", type=float, nargs="+", default=[1e5, 1e6, 1e7, 1e8])
    sizes = [int(size) for size in parser.parse_args().sizes]
    with tempfile.TemporaryDirectory() as folder:
        results = [measure(n, 5 if n < 10**8 else 1, Path(folder)) for n in sizes]
    record = {
        "name": "core speed",
        "versions": {
            "ted-core": ted.__version__,
            "python": platform.python_version(),
            "numpy": np.__version__,
            "torch": torch.__version__,
        },
        "machine": {"arch": platform.machine(), "cores": os.cpu_count()},
        "results": results,
    }
    RECORD.parent.mkdir(exist_ok=True)
    RECORD.write_text(json.dumps(record, indent=1) + "\n")
    print(RECORD.read_text())


if __name__ == "__main__":
    main()
