"""Write benchmarks/scale/records/ranks.json: what ranks cost when an epoch closes.

Spawns 1, 2 and 4 processes on this machine (gloo) and times ``set_epoch``: the merge,
the scores, the selection and the order of the next epoch, without any training. The
page docs/results/scale/ranks.md is made from the record.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import statistics
import sys
import tempfile
from pathlib import Path
from time import perf_counter, process_time

import numpy as np
import torch
import torch.distributed as dist
import torch.multiprocessing as mp
from ted_torch import TED, find_shard

import ted_core

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "pages"))

from ranks_page import PAGE, markdown

RECORD = Path(__file__).parent / "records" / "ranks.json"
EPOCHS, CHUNK = 8, 1 << 17
MODES = ("replicated", "exact", "exact, SoftTop", "per_rank")


class Samples:
    """A data set that is nothing but its length."""

    def __init__(self, n):
        self.n = n

    def __len__(self):
        return self.n

    def __getitem__(self, index):
        return index


def make(mode, n):
    """Give this rank's session: of all n samples, or of its part of them."""
    ranks, rank = dist.get_world_size(), dist.get_rank()
    soft = "SoftTop" in mode
    options = {
        "epochs": EPOCHS,
        "schedule": ted_core.Constant(0.5, warmup=1),
        "strategy": ted_core.SoftTop() if soft else ted_core.TopScore(),
        "signal": "loss",
    }
    if mode == "replicated":
        return TED(Samples(n), **options)
    mine = Samples(n // ranks + (rank < n % ranks))
    balance = mode.split(",", maxsplit=1)[0]
    return TED(mine, shard=find_shard(mine, balance=balance), **options)


def train(ted, epoch):
    """Record a value for each sample of this rank's share."""
    generator = torch.Generator().manual_seed(1000 * epoch + dist.get_rank())
    ids = torch.from_numpy(ted.sampler.ids().astype(np.int64))
    for part in ids.split(CHUNK):
        losses = torch.empty(len(part)).exponential_(generator=generator)
        ted.loss(losses.requires_grad_(), ids=part)


class Meter:
    """Counts the collectives and their bytes."""

    def __init__(self):
        self.sizes, self._all_reduce = [], dist.all_reduce
        dist.all_reduce = self._counted

    def _counted(self, tensor, *args, **options):
        self.sizes.append(tensor.nbytes)
        return self._all_reduce(tensor, *args, **options)

    def close(self):
        dist.all_reduce = self._all_reduce


def closings(mode, n, count):
    """Close `count` pruned epochs: seconds of the slowest rank, collectives, bytes."""
    ted = make(mode, n)
    ted.set_epoch(0)
    seconds, used = [], []
    for epoch in range(1, count + 2):
        train(ted, epoch - 1)
        dist.barrier()
        meter, start, busy = Meter(), perf_counter(), process_time()
        ted.set_epoch(epoch)
        both = [perf_counter() - start, process_time() - busy]
        took = torch.tensor(both, dtype=torch.float64)
        meter.close()
        dist.all_reduce(took, op=dist.ReduceOp.MAX)
        seconds.append(took[0].item())
        used.append(took[1].item())
    state = ted.state_dict()
    held = [value for name, value in state.items() if name.startswith("pruner.scores.")]
    return {
        "seconds": seconds[1:],  # the first closed a full epoch
        "processor seconds": used[1:],
        "collectives": len(meter.sizes),
        "bytes": sum(meter.sizes),
        "largest": max(meter.sizes, default=0),
        "resident bytes": sum(value.nbytes for value in held),
        "imbalance": ted.pruner.plan().imbalance,
    }


def rank_of(rank, ranks, folder, n, count):
    torch.set_num_threads(1)
    store = f"file://{folder}/store"
    dist.init_process_group("gloo", init_method=store, rank=rank, world_size=ranks)
    rows = {mode: closings(mode, n, count) for mode in MODES}
    if rank == 0:
        Path(folder, "rows.json").write_text(json.dumps(rows), encoding="utf-8")
    dist.barrier()
    dist.destroy_process_group()


def measure(n, ranks, count):
    load = os.getloadavg()[0]
    with tempfile.TemporaryDirectory() as folder:
        mp.spawn(rank_of, (ranks, folder, n, count), nprocs=ranks)
        rows = json.loads(Path(folder, "rows.json").read_text(encoding="utf-8"))
    results = []
    for mode, row in rows.items():
        seconds, used = row.pop("seconds"), row.pop("processor seconds")
        result = {"n": n, "ranks": ranks, "mode": mode, "closings": len(seconds)}
        result |= {"mean seconds": statistics.mean(seconds)}
        result |= {"mean processor seconds": statistics.mean(used)}
        result |= {"sd": statistics.stdev(used) if len(used) > 1 else 0.0}
        results.append({**result, **row, "load average": round(load, 1)})
        print(results[-1], flush=True)
    return results


def record_of(results):
    return {
        "name": "ranks",
        "kept": 0.5,
        "versions": {
            "ted-core": ted_core.__version__,
            "python": platform.python_version(),
            "numpy": np.__version__,
            "torch": torch.__version__,
        },
        "machine": {
            "arch": platform.machine(),
            "cores": os.cpu_count(),
            "backend": "gloo",
            "threads of a rank": 1,
        },
        "results": results,
    }


def add(path, results):
    """Write results to a record; those of other sizes and ranks in it stay."""
    before = path.read_text(encoding="utf-8") if path.exists() else '{"results": []}'
    old = json.loads(before)["results"]
    made = {(result["n"], result["ranks"]) for result in results}
    results += [row for row in old if (row["n"], row["ranks"]) not in made]
    results.sort(key=lambda row: (row["n"], row["ranks"], MODES.index(row["mode"])))
    record = record_of(results)
    path.parent.mkdir(exist_ok=True)
    path.write_text(json.dumps(record, indent=1) + "\n", encoding="utf-8")
    return record


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--sizes", type=float, nargs="+", default=[1e6, 1e7])
    parser.add_argument("--ranks", type=int, nargs="+", default=[1, 2, 4])
    parser.add_argument("--closings", type=int, default=5)
    parser.add_argument("--out", type=Path, default=RECORD)
    options = parser.parse_args()
    for n in map(int, options.sizes):
        for ranks in options.ranks:
            record = add(options.out, measure(n, ranks, options.closings))
            if options.out == RECORD:
                PAGE.parent.mkdir(exist_ok=True)
                PAGE.write_text(markdown(record), encoding="utf-8")


if __name__ == "__main__":
    main()
