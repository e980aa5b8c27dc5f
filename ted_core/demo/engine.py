"""One demonstration for every framework: the budget curve, or planted wrong labels."""

from __future__ import annotations

import argparse
import math
import os
import platform
import textwrap
from collections.abc import Callable, Sequence
from dataclasses import replace
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from ted_core.checkpoint import atomic_write
from ted_core.comparison import Comparison, compare
from ted_core.demo.datasets import (
    MAX_BATCH,
    Task,
    digits_as_images,
    load_images,
    make_task,
    task_of,
)
from ted_core.errors import ComparisonError
from ted_core.reports import sample_table
from ted_core.schedules import RollerCoaster, keep_ratios

WIDTH = 128
"""Units of each of the network's two hidden layers."""
MOMENTUM, WEIGHT_DECAY = 0.9, 5e-4
"""Of SGD with Nesterov's momentum, in one cycle of the learning rate."""

BUDGETS = (0.25, 0.5, 1.0)
METHODS = ("soft_margin", "ted")

# The peak of each arm's learning rate at each budget: of GRID the one with the best
# mean accuracy over two seeds that judge nothing, on the generated data in PyTorch.
# `--sweep` chooses anew. 1 / r_t multiplies the steps of the pruned arms as well.
GRID = (0.1, 0.14, 0.2, 0.28, 0.4, 0.57, 0.8, 1.13, 1.6)
RATES = {
    "full": (0.57, 0.57, 0.57),
    "full, pruned rate": (0.2, 0.2, 0.14),
    "random": (0.28, 0.14, 0.1),
    "soft_margin": (0.2, 0.2, 0.14),
    "ted": (0.2, 0.2, 0.2),
}

WRONG_SHARE, SHOWN = 0.05, 24
_WRONG_RATE = 0.1
_PACKAGES = ("sklearn", "matplotlib", "tqdm")
_COLUMNS = 8  # of the picture of suspects


class Fit(Protocol):
    """How a framework trains a network, 2 hidden layers wide, on a task."""

    def __call__(
        self, task: Task, *, seed: int, epochs: int, lr: float, **options: Any
    ) -> tuple[float, Any]:
        """Return the accuracy on the test samples, in %, and the session."""


def make_parser(program: str, *, seeds: int) -> argparse.ArgumentParser:
    """Return a parser of the arguments that all demos share."""
    parser = argparse.ArgumentParser(
        prog=program,
        description="Accuracy over samples processed: full training for fewer epochs, "
        "a random selection, soft_margin and ted, each at its own learning rate.",
    )
    add = parser.add_argument
    add("--seeds", type=int, default=seeds, help=f"seeds of each arm ({seeds})")
    add("--epochs", type=int, default=16, help="epochs of full training (16)")
    add(
        "--data",
        type=Path,
        metavar="PATH",
        help="a .npz file with x_train (n, H, W, 3) or (n, H, W), uint8, y_train, "
        "x_test and y_test, or a folder with a .npy of each (generated clusters)",
    )
    add(
        "--sweep",
        action="store_true",
        help="choose the learning rates anew, for each arm at each budget",
    )
    add(
        "--wrong-labels",
        action="store_true",
        help="instead: plant 5 %% wrong labels, in scikit-learn's digits or --data, "
        "train once by ted_loss, and show the samples kept most often",
    )
    add("--threads", type=int, default=1, help="threads of the framework (1)")
    add(
        "--out",
        type=Path,
        metavar="FILE",
        help="picture to write (budget_curve.png or wrong_labels.png)",
    )
    add(
        "--record",
        type=Path,
        metavar="FILE",
        help="JSON of all runs, written after each; the same call goes on there",
    )
    return parser


def parse(
    parser: argparse.ArgumentParser, argv: Sequence[str] | None
) -> argparse.Namespace:
    """Parse; end the program before anything is trained if it can't do its work."""
    arguments = parser.parse_args(argv)
    missing = [name for name in _PACKAGES if find_spec(name) is None]
    if missing:
        parser.exit(2, f"{missing[0]} is missing: pip install 'ted-core[demo]'\n")
    if arguments.threads < 1:
        parser.error(f"`--threads` must be at least 1, got {arguments.threads}")
    if arguments.out is None:
        name = "wrong_labels" if arguments.wrong_labels else "budget_curve"
        arguments.out = Path(f"{name}.png")
    for name in ("out", "record"):
        path = getattr(arguments, name)
        if path is not None and not path.parent.is_dir():
            parser.error(f"`--{name}` must be in a folder that is there, got {path}")
    return arguments


def run_demo(parser: argparse.ArgumentParser, arguments: Any, fit: Fit) -> None:
    """Do what the arguments ask for, print it, and draw it."""
    try:
        if arguments.wrong_labels:
            _show_wrong_labels(arguments, fit)
        else:
            _show_budget_curve(arguments, fit)
    except (ValueError, TypeError, ComparisonError) as error:
        parser.error(str(error))
    print(f"wrote {arguments.out}")


def _show_budget_curve(arguments: Any, fit: Fit) -> None:
    if arguments.data is None:
        task, own = make_task(), True
    else:
        task, own = task_of(load_images(arguments.data), arguments.data.name), False

    def train(
        *, seed: int, epochs: int, lr: float | None = None, **options: Any
    ) -> tuple[float, Any]:
        if lr is None:
            lr = rate_of(epochs / arguments.epochs, options)
        # Rates are those of batches of MAX_BATCH; smaller ones want smaller steps.
        lr *= task.batch_size / MAX_BATCH
        return fit(task, seed=seed, epochs=epochs, lr=lr, **options)

    found = compare(
        train,
        epochs=arguments.epochs,
        methods=METHODS,
        budgets=BUDGETS,
        seeds=arguments.seeds,
        rates=GRID if arguments.sweep else None,
        record=arguments.record,
    )
    if not arguments.sweep:
        rows = tuple(
            replace(row, rate=RATES[row.arm][BUDGETS.index(row.budget)])
            for row in found.rows
        )
        note = () if own else ("The rates are those of other data; see --sweep.",)
        # The first note says that all arms have one rate; here each has its own.
        found = replace(found, rows=rows, notes=(*note, *found.notes[1:]))
    print(make_text(found, task))
    title = f"Budget curve: {task.name}, {found.n:,} samples"
    found.plot(arguments.out, metric="test accuracy, %", title=title)


def rate_of(length: float, options: dict[str, Any]) -> float:
    """Return the rate of an arm's options, of so many times the epochs of all data."""
    ratio = options["prune_ratio"]
    arm = options.get("method", "full, pruned rate") if ratio else "full"
    epochs = round(1000 * length)
    budget = keep_ratios(RollerCoaster(ratio), epochs).sum() / 1000
    return RATES[arm][int(np.abs(np.array(BUDGETS) - budget).argmin())]


def make_text(found: Comparison, task: Task) -> str:
    """Return a table of arms by budgets, the verdict, and the notes."""
    full = [row for row in found.rows if row.arm == "full"]
    head = "".join(f"{row.samples:>16,.0f}" for row in full)
    lines = [
        f"{task.name}: test accuracy in %, mean (sd) of {len(found.seeds)} seeds",
        "",
        f"{'samples processed':20}{head}",
    ]
    for arm in dict.fromkeys(row.arm for row in found.rows):
        cells = "".join(
            f"{f'{row.mean:.2f} ({row.sd:.2f})':>16}"
            for row in found.rows
            if row.arm == arm
        )
        lines.append(f"{arm:20}{cells}")
    clauses = found.verdict.removesuffix(".").split("; ")
    clauses = [f"{text[0].upper()}{text[1:]}." for text in clauses]
    for text in (*clauses, *found.notes):
        lines += ["", *textwrap.wrap(text, 80)]
    return "\n".join(lines)


def _show_wrong_labels(arguments: Any, fit: Fit) -> None:
    if arguments.data is None:
        images, name = digits_as_images(), "digits"
    else:
        images, name = load_images(arguments.data), arguments.data.name
    true = images.y_train
    given, wrong = plant_wrong_labels(true, images.classes)
    task = replace(task_of(images, name), y_train=given)
    accuracy, session = fit(
        task, seed=0, epochs=arguments.epochs, lr=_WRONG_RATE, method="ted_loss"
    )
    ids = sample_table(getattr(session, "pruner", session)).most_kept(SHOWN).ids
    found = int(np.isin(ids, wrong).sum())
    title = (
        f"{found} of the {len(ids)} samples kept most often are among the "
        f"{len(wrong)} wrong labels planted in {len(true):,}"
    )
    print(f"{'sample':>8}{'given':>8}{'true':>8}")
    for k in ids:
        mark = "  planted" if given[k] != true[k] else ""
        print(f"{k:8}{given[k]:8}{true[k]:8}{mark}")
    print(
        f"\n{title}.\nTest accuracy {accuracy:.1f} %; chance would find "
        f"{len(ids) * len(wrong) / len(true):.1f}."
    )
    draw_suspects(arguments.out, images.x_train[ids], given[ids], true[ids], title)


def plant_wrong_labels(
    y: NDArray[np.int64], classes: int
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Return the labels with a share of them wrong, and the ids of these."""
    rng = np.random.default_rng(0)
    wrong = rng.choice(len(y), round(WRONG_SHARE * len(y)), replace=False)
    given = y.copy()
    given[wrong] = (y[wrong] + rng.integers(1, classes, len(wrong))) % classes
    return given, wrong


def one_cycle(rate: float, steps: int) -> Callable[[int], float]:
    """Return the learning rate of each step: a rise of 30 %, then a fall to 0."""
    rise = max(1, round(0.3 * steps))

    def at(step: int) -> float:
        if step < rise:
            return rate * (1 + 24 * (1 - math.cos(math.pi * step / rise)) / 2) / 25
        return rate * (1 + math.cos(math.pi * (step - rise) / (steps - rise))) / 2

    return at


def draw_suspects(
    path: Path,
    images: NDArray[np.uint8],
    given: NDArray[np.int64],
    true: NDArray[np.int64],
    title: str,
) -> None:
    """Write a grid of pictures; above each the label it had, and the true one."""
    from matplotlib.figure import Figure  # noqa: PLC0415 - an extra

    rows = -(-len(images) // _COLUMNS)
    figure = Figure(figsize=(9, 0.6 + 1.3 * rows), layout="constrained")
    figure.suptitle(title, fontsize=11)
    grid: Any = figure.subplots(rows, _COLUMNS, squeeze=False).ravel()
    for axes in grid:
        axes.set_axis_off()
    for axes, image, label, right in zip(grid, images, given, true, strict=False):
        axes.imshow(image, cmap="gray_r", interpolation="nearest")
        planted = label != right
        text = f"given {label}, true {right}" if planted else f"given {label}"
        axes.set_title(text, fontsize=8, color="#D55E00" if planted else "#000000")
    with atomic_write(path) as file:
        figure.savefig(file, dpi=130, format=path.suffix[1:] or "png")


def machine() -> dict[str, Any]:
    """Return the processor's name and its cores."""
    info = Path("/proc/cpuinfo")
    lines = info.read_text(encoding="utf-8").splitlines() if info.exists() else []
    names = [line.partition(":")[2].strip() for line in lines if "model name" in line]
    return {"cpu": names[0] if names else platform.machine(), "cores": os.cpu_count()}
