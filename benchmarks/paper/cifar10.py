"""Full data, Random and TED on CIFAR-10 at the same number of samples, in PyTorch.

``python benchmarks/paper/cifar10.py --data-dir DATA`` trains with the demo's own code
(``ted_torch.demo``) and writes the record after each seed; started again, it goes on
with the seeds that the record does not have. DATA is what ``python -m ted_torch.demo
--data`` takes; ``--table`` only prints the table of the record. Without
``--data-dir``, ``--note`` adds to the record what its numbers can't say.
"""

from __future__ import annotations

import argparse
import json
import time
from pathlib import Path

import torch
from ted_torch.demo import Settings, compare, load_images
from ted_torch.demo.comparison import warm_up
from ted_torch.demo.records import (
    load_average,
    make_record,
    make_result,
    read_runs,
)

from ted_core.demo import make_table
from ted_core.demo.pictures import draw

__all__ = ["RECORD", "SETTINGS"]

ROOT = Path(__file__).resolve().parents[2]
RECORD = ROOT / "benchmarks/paper/records/cifar10_torch.json"
SETTINGS = Settings(
    epochs=16, prune_ratio=0.7, batch_size=128, width=16, learning_rate=0.1
)
SEEDS = (0, 1, 2)
DATA = "CIFAR-10 recompressed as JPEG quality 95 (PSNR 39.8 dB to the original)"


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data-dir", type=Path, help="folder or .npz of four arrays")
    parser.add_argument("--data-name", default=DATA, help="what the data are")
    parser.add_argument("--record", type=Path, default=RECORD)
    parser.add_argument("--picture", type=Path, help="picture of the last TED run")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--table", action="store_true", help="only print the table")
    parser.add_argument("--note", help="only add this sentence to the record's notes")
    arguments = parser.parse_args()
    if arguments.note:
        record = json.loads(arguments.record.read_text(encoding="utf-8"))
        notes = [*record.pop("notes", []), arguments.note]
        write(arguments.record, {"name": record.pop("name"), "notes": notes} | record)
        return
    if arguments.table:
        record = json.loads(arguments.record.read_text(encoding="utf-8"))
        print(make_table(read_runs(record)))
        return
    if arguments.data_dir is None:
        parser.error("`--data-dir` is missing")
    measure(arguments)


def measure(arguments):
    """Train the seeds that the record does not have."""
    torch.set_num_threads(arguments.threads)
    images = load_images(arguments.data_dir)
    about = {"images": images, "settings": SETTINGS, "data": arguments.data_name}
    results, notes = [], []
    if arguments.record.exists():
        old = json.loads(arguments.record.read_text(encoding="utf-8"))
        results, notes = old["results"], old.get("notes", [])
        new = make_record(results, name="cifar10_torch", **about)
        for part in ("config", "versions", "machine"):
            if old[part] != new[part]:
                message = f"the record has another {part}: {old[part]} != {new[part]}"
                raise SystemExit(message)
    done = {result["seed"] for result in results}
    if done != set(SEEDS):
        warm_up(images, SETTINGS)
    for seed in sorted(set(SEEDS) - done):
        load, begun = [], time.perf_counter()

        def note(load=load, begun=begun, seed=seed):
            load.append(load_average())
            past = time.perf_counter() - begun
            print(f"seed {seed}: {len(load)} epochs, {past:.0f} s", flush=True)

        runs = compare(images, SETTINGS, seed=seed, after_epoch=note)
        results += [
            make_result(run, variant=name, seed=seed, load=load)
            for name, run in runs.items()
        ]
        record = make_record(results, name="cifar10_torch", **about)
        write(arguments.record, {"name": record.pop("name"), "notes": notes} | record)
        print(make_table(read_runs(record)), flush=True)
        if arguments.picture:
            draw(arguments.picture, runs["TED"], images.x_train)


def write(path, record):
    """Write the record, whole or not at all."""
    path.parent.mkdir(parents=True, exist_ok=True)
    beside = path.with_suffix(".new")
    beside.write_text(json.dumps(record, indent=1) + "\n", encoding="utf-8")
    beside.replace(path)


if __name__ == "__main__":
    main()
