"""One comparison for every framework: variants in turn, a table, a record, a picture.

A framework's demo gives a `Training`, which knows how to train one epoch; the turns,
the clock, the records and the arguments that all demos share are here.
"""

from __future__ import annotations

import argparse
import itertools
import json
from collections.abc import Callable, Mapping
from functools import partial
from importlib.util import find_spec
from pathlib import Path
from time import perf_counter, process_time
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from ted_core.checkpoint import atomic_write
from ted_core.demo.datasets import Images, digits_as_images, load_images
from ted_core.demo.pictures import draw
from ted_core.demo.results import (
    Run,
    Settings,
    load_average,
    make_record,
    make_result,
    make_table,
)
from ted_core.pruner import Pruner
from ted_core.strategies import Random, Strategy, TopScore

# What each variant keeps; None is a plain training on all data.
VARIANTS: dict[str, Strategy | None] = {
    "full": None,
    "random": Random(),
    "TED": TopScore(),
}

_PACKAGES = ("sklearn", "matplotlib", "tqdm")


def now() -> NDArray[np.float64]:
    """Return the time and the processor time, in seconds."""
    return np.array([perf_counter(), process_time()])


class Training:
    """One variant in training, on the clock; without a pruner, on all `n` samples."""

    def __init__(self, n: int, epochs: int, pruner: Pruner | None = None) -> None:
        self.n, self.epochs, self.pruner = n, epochs, pruner
        self.epoch_seconds: list[float] = []
        self.epoch_cpu_seconds: list[float] = []
        self.epoch_samples: list[int] = []
        self._scores: list[NDArray[np.float32]] = []

    def train_epoch(self) -> int:
        """Train the next epoch, close it, and return the samples it forwarded."""
        raise NotImplementedError

    def accuracy(self) -> float:
        """Return the share of the test pictures that are right, in [0, 1]."""
        raise NotImplementedError

    @property
    def epoch(self) -> int:
        """Epochs trained so far."""
        return len(self.epoch_samples)

    @property
    def finished(self) -> bool:
        """Whether all epochs are trained."""
        return self.epoch == self.epochs

    def take_turn(self, after_epoch: Callable[[], object] = lambda: None) -> None:
        """Train one epoch and note it; a framework with a loop of its own, all."""
        start = now()
        samples = self.train_epoch()
        self.note_epoch(samples, now() - start)
        after_epoch()

    def note_epoch(self, samples: int, elapsed: NDArray[np.float64]) -> None:
        """Note what an epoch forwarded, what it took, and the scores after it."""
        wall, cpu = elapsed.tolist()
        self.epoch_samples.append(samples)
        self.epoch_seconds.append(wall)
        self.epoch_cpu_seconds.append(cpu)
        if self.pruner is not None:
            self._scores.append(self.pruner.scores)

    def result(self) -> Run:
        """Return accuracy, counts, times and scores of the epochs so far."""
        if self.pruner is None:
            times_kept = np.full(self.n, self.epoch, dtype=np.uint16)
        else:
            times_kept = self.pruner.update_counts
        return Run(
            n=self.n,
            accuracy=self.accuracy(),
            epoch_seconds=list(self.epoch_seconds),
            epoch_cpu_seconds=list(self.epoch_cpu_seconds),
            epoch_samples=list(self.epoch_samples),
            scores=list(self._scores),
            times_kept=times_kept,
        )


# Takes `strategy`, None for the training on all data, and `seed`.
MakeTraining: TypeAlias = Callable[..., Training]


def compare(
    make_training: MakeTraining,
    *,
    seed: int,
    after_epoch: Callable[[], object] = lambda: None,
) -> dict[str, Run]:
    """Train the variants of one seed in turn, and return a run for each."""
    trainings = {
        name: make_training(strategy=strategy, seed=seed)
        for name, strategy in VARIANTS.items()
    }
    names = list(VARIANTS)
    for turn in itertools.count():
        # What slows the machine down for a while meets all variants alike.
        first = (turn + seed) % len(names)
        for name in names[first:] + names[:first]:
            trainings[name].take_turn(after_epoch)
        if trainings[names[0]].finished:
            break
    return {name: training.result() for name, training in trainings.items()}


def run_demo(
    arguments: argparse.Namespace,
    make_training: MakeTraining,
    *,
    pictures: NDArray[Any],
    about: Mapping[str, Any] | None = None,
    note: str = "",
) -> None:
    """Compare on each seed, print a table, and write record (`about`) and picture."""
    from tqdm import tqdm  # noqa: PLC0415 - an extra

    runs: dict[str, list[Run]] = {variant: [] for variant in VARIANTS}
    results: list[dict[str, Any]] = []
    total = arguments.seeds * len(VARIANTS) * arguments.epochs
    with tqdm(total=total, unit="epoch") as bar:
        for seed in range(arguments.seeds):
            load: list[float | None] = []

            def count(load: list[float | None] = load) -> None:
                load.append(load_average())
                bar.update()

            found = compare(make_training, seed=seed, after_epoch=count)
            for variant, run in found.items():
                runs[variant].append(run)
                results.append(make_result(run, variant=variant, seed=seed, load=load))
    print(make_table(runs))
    if note:
        print(note)
    if about is not None and arguments.record is not None:
        record = make_record(results, threads=arguments.threads, **about)
        text = json.dumps(record, indent=1) + "\n"
        with atomic_write(arguments.record) as file:
            file.write(text.encode())
        print(f"wrote {arguments.record}")
    draw(arguments.out, runs["TED"][0], pictures)
    print(f"wrote {arguments.out}")


def run_image_demo(
    arguments: argparse.Namespace,
    make_training: Callable[..., Training],
    warm_up: Callable[[Images, Any], object],
    *,
    name: str,
    versions: Mapping[str, str],
    make_settings: Callable[..., Settings] = Settings,
    note: str = "",
) -> None:
    """Run the demo of a framework on pictures, after an epoch that is thrown away."""
    if arguments.data is None:
        images, data, width = digits_as_images(), "scikit-learn's digits", 64
    else:
        images, data, width = load_images(arguments.data), arguments.data.name, 16
    plan = {"epochs": arguments.epochs, "prune_ratio": arguments.prune_ratio}
    settings = make_settings(**plan, batch_size=arguments.batch_size, width=width)
    Pruner(len(images.y_train), **plan)  # refuses them before anything is trained
    warm_up(images, settings)
    run_demo(
        arguments,
        partial(make_training, images, settings),
        pictures=images.x_train,
        about={
            "name": name,
            "images": images,
            "settings": settings,
            "data": data,
            "versions": versions,
        },
        note=note,
    )


def make_parser(
    program: str, description: str, *, seeds: int, epochs: int, out: str
) -> argparse.ArgumentParser:
    """Return a parser of the arguments that all demos share, with these defaults."""
    parser = argparse.ArgumentParser(prog=program, description=description)
    add = parser.add_argument
    add("--seeds", type=int, default=seeds, help=f"runs a variant ({seeds})")
    add("--epochs", type=int, default=epochs, help=f"epochs a run ({epochs})")
    add("--prune-ratio", type=float, default=0.7, help="s (0.7)")
    out_help = f"picture to write ({out})"
    add("--out", type=Path, default=Path(out), metavar="FILE", help=out_help)
    return parser


def make_image_parser(program: str, *, out: str) -> argparse.ArgumentParser:
    """Return the parser of a framework's demo, which trains on pictures."""
    parser = make_parser(
        program,
        "Small convolutional network: full data, TED, Random.",
        seeds=3,
        epochs=16,
        out=out,
    )
    add = parser.add_argument
    add(
        "--data",
        type=Path,
        metavar="PATH",
        help="a .npz file with x_train (n, H, W, 3) or (n, H, W), uint8, y_train, "
        "x_test and y_test, or a folder with a .npy of each (scikit-learn's digits)",
    )
    add("--batch-size", type=int, default=64, help="samples of a step (64)")
    add("--threads", type=int, default=1, help="threads of the framework (1)")
    add("--record", type=Path, metavar="FILE", help="write all numbers as JSON")
    return parser


def check_arguments(
    parser: argparse.ArgumentParser, arguments: argparse.Namespace
) -> None:
    """End the program, before anything is trained, if it can't do its work."""
    missing = [name for name in _PACKAGES if find_spec(name) is None]
    if missing:
        parser.exit(2, f"{missing[0]} is missing: pip install 'ted-core[demo]'\n")
    given = vars(arguments)
    for name in ("seeds", "batch_size", "threads"):
        if given.get(name, 1) < 1:
            flag = name.replace("_", "-")
            parser.error(f"`--{flag}` must be at least 1, got {given[name]}")
    for name in ("out", "record"):
        path = given.get(name)
        if path is not None and not path.parent.is_dir():
            parser.error(f"`--{name}` must be in a folder that is there, got {path}")


def stage_channels(side: int, width: int) -> list[int]:
    """Return the channels of each stage of a demo's network: doubled at most twice."""
    # A stage's max pool halves the side; 4 x 4 positions are the fewest to convolve.
    stages = side.bit_length() - 2  # halvings before the side is below 4
    return [width * 2 ** min(stage, 2) for stage in range(stages)]
