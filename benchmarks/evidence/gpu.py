"""Compare all arms on CIFAR-10 on a GPU, by its own clock, and record the runs.

python benchmarks/evidence/gpu.py --data-dir DATA --limit-seconds 500

It ends before a run that would not end in time, with exit status 75; the same command
goes on. ``--device cpu --width 0.125 --samples 512 --epochs 4`` tries it without one.
"""

from __future__ import annotations

import argparse
import time
import warnings
from functools import partial
from pathlib import Path

import torch
from trials.speedrun import METHODS, Bench

import ted_core

RECORD = Path(__file__).parent / "records" / "gpu_cifar10.json"
UNFINISHED = 75


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data-dir", type=Path, required=True)
    parser.add_argument("--record", type=Path, default=RECORD)
    parser.add_argument("--device", default="cuda")
    parser.add_argument("--width", type=float, default=1.0, help="of the network")
    parser.add_argument("--samples", type=int, default=50_000)
    parser.add_argument("--epochs", type=int, default=24, help="of the full run")
    parser.add_argument("--batch", type=int, default=512)
    parser.add_argument("--rates", type=float, nargs="+", default=[0.25, 0.5, 1.0])
    parser.add_argument("--seeds", type=int, default=8)
    parser.add_argument("--limit-seconds", type=float, default=float("inf"))
    arguments = parser.parse_args()
    warnings.simplefilter("ignore", ted_core.TedWarning)  # few epochs save little
    bench = Bench(arguments)
    end = time.perf_counter() + arguments.limit_seconds
    try:
        print(compared(partial(in_time, bench.train, end), arguments))
    except KeyboardInterrupt as stop:
        print(f"stopped: {stop}; the same command goes on")
        raise SystemExit(UNFINISHED) from None


def compared(train, arguments):
    """Return the comparison; what the record has is not run again."""
    return ted_core.compare(
        train,
        epochs=arguments.epochs,
        methods=METHODS,
        budgets=(0.5,),
        seeds=arguments.seeds,
        rates=arguments.rates,
        record=arguments.record,
    )


class Clock:
    """The seconds of an epoch of all data, the longest yet."""

    epoch = 0.0


def in_time(train, end, *, epochs, **options):
    """Train, unless the run would end too late."""
    known = {k: options[k] for k in ("prune_ratio", "schedule") if k in options}
    ahead = ted_core.Pruner(10_000, epochs=epochs, **known)
    passes = ahead.schedule_table()["kept"].sum() / 10_000
    begun = time.perf_counter()
    if begun + 1.2 * passes * Clock.epoch > end:
        msg = "the next run would not end in time"
        raise KeyboardInterrupt(msg)
    returned = train(epochs=epochs, **options)
    Clock.epoch = max(Clock.epoch, (time.perf_counter() - begun) / passes)
    return returned


if __name__ == "__main__":
    torch.set_float32_matmul_precision("high")
    main()
