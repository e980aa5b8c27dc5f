"""Full data, Random and TED on CIFAR-10 at the same number of samples.

``python benchmarks/paper/cifar10.py --data-dir DATA`` trains with the demo's own code
(``ted_torch.demo``; ``--adapter keras`` with ``ted_keras.demo``, on the first 10,000
pictures) and writes the record after each seed; started again, it goes on with the
seeds that the record does not have. DATA is what ``python -m ted_torch.demo --data``
takes; ``--table`` only prints the table of the record. Without ``--data-dir``,
``--note`` adds to the record what its numbers can't say.
"""

from __future__ import annotations

import argparse
import json
import os
import time
from dataclasses import replace
from functools import partial
from importlib import import_module
from pathlib import Path

from ted_core.demo.datasets import load_images
from ted_core.demo.engine import compare
from ted_core.demo.pictures import draw
from ted_core.demo.results import (
    load_average,
    make_record,
    make_result,
    make_table,
    read_runs,
)

__all__ = ["SAMPLES", "SETTINGS"]

ROOT = Path(__file__).resolve().parents[2]
RECORDS = ROOT / "benchmarks/paper/records"
SETTINGS = {
    "epochs": 16,
    "prune_ratio": 0.7,
    "batch_size": 128,
    "width": 16,
    "learning_rate": 0.1,
}
SAMPLES = {"torch": 50_000, "keras": 10_000}
"""Pictures to train on, for each adapter; those of the test are always all."""
SEEDS = (0, 1, 2)
THREADS = (
    "OMP_NUM_THREADS",
    "MKL_NUM_THREADS",
    "TF_NUM_INTRAOP_THREADS",
    "TF_NUM_INTEROP_THREADS",
)
DATA = "CIFAR-10 recompressed as JPEG quality 95 (PSNR 39.8 dB to the original)"
KERAS_SECONDS = (
    "seconds are without the first and the last batch of a run's first epoch, where "
    "Keras compiles; the variants took turns run by run"
)
NOTES = {"torch": [], "keras": [KERAS_SECONDS]}


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--adapter", choices=tuple(SAMPLES), default="torch")
    parser.add_argument("--data-dir", type=Path, help="folder or .npz of four arrays")
    parser.add_argument("--data-name", default=DATA, help="what the data are")
    parser.add_argument("--record", type=Path, help="where; beside the others if not")
    parser.add_argument("--picture", type=Path, help="picture of the last TED run")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--table", action="store_true", help="only print the table")
    parser.add_argument("--note", help="only add this sentence to the record's notes")
    arguments = parser.parse_args()
    if arguments.record is None:
        arguments.record = RECORDS / f"cifar10_{arguments.adapter}.json"
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
    demo, versions = start(arguments.adapter, arguments.threads)
    settings, n = demo.Settings(**SETTINGS), SAMPLES[arguments.adapter]
    images = load_images(arguments.data_dir)
    images = replace(images, x_train=images.x_train[:n], y_train=images.y_train[:n])
    about = {
        "name": f"cifar10_{arguments.adapter}",
        "images": images,
        "settings": settings,
        "data": arguments.data_name,
        "threads": arguments.threads,
        "versions": versions,
    }
    results, notes = [], NOTES[arguments.adapter]
    if arguments.record.exists():
        old = json.loads(arguments.record.read_text(encoding="utf-8"))
        results, notes = old["results"], old.get("notes", [])
        new = make_record(results, **about)
        for part in ("config", "versions", "machine"):
            if old[part] != new[part]:
                message = f"the record has another {part}: {old[part]} != {new[part]}"
                raise SystemExit(message)
    done = {result["seed"] for result in results}
    if done != set(SEEDS):
        demo.warm_up(images, settings)
    for seed in sorted(set(SEEDS) - done):
        load, begun = [], time.perf_counter()

        def note(load=load, begun=begun, seed=seed):
            load.append(load_average())
            past = time.perf_counter() - begun
            print(f"seed {seed}: {len(load)} epochs, {past:.0f} s", flush=True)

        make_training = partial(demo.Training, images, settings)
        runs = compare(make_training, seed=seed, after_epoch=note)
        results += [
            make_result(run, variant=name, seed=seed, load=load)
            for name, run in runs.items()
        ]
        record = make_record(results, **about)
        write(arguments.record, {"name": record.pop("name"), "notes": notes} | record)
        print(make_table(read_runs(record)), flush=True)
        if arguments.picture:
            draw(arguments.picture, runs["TED"], images.x_train)


def start(adapter, threads):
    """Return the adapter's demo and the versions of its framework."""
    for name in THREADS:  # read once, when a framework is first imported
        os.environ[name] = str(threads)
    names = [adapter]
    if adapter == "keras":
        names.append(import_module("keras").backend.backend())
    versions = {name: import_module(name).__version__ for name in names}
    return import_module(f"ted_{adapter}.demo"), versions


def write(path, record):
    """Write the record, whole or not at all."""
    path.parent.mkdir(parents=True, exist_ok=True)
    beside = path.with_suffix(".new")
    beside.write_text(json.dumps(record, indent=1) + "\n", encoding="utf-8")
    beside.replace(path)


if __name__ == "__main__":
    main()
