"""The command line: ``ted plan`` and ``ted inspect``."""

from __future__ import annotations

import argparse
import sys
import warnings
from collections.abc import Mapping, Sequence
from dataclasses import fields
from functools import partial
from pathlib import Path
from typing import Any, NoReturn

import numpy as np
from numpy.typing import NDArray

from ted_core import __version__
from ted_core._state import read_states
from ted_core.checkpoint import atomic_write, current_state
from ted_core.config import (
    make_config,
    max_visited,
    single_sample_warning,
    steps_of,
    table_of,
)
from ted_core.errors import CheckpointError, TedWarning
from ted_core.history import HISTORY, TOKENS, savings_of
from ted_core.reports.sample_table import ordered
from ted_core.schedules import (
    Constant,
    Cosine,
    Linear,
    RollerCoaster,
    StepOptions,
    planned_save_ratio,
    steps_for,
)

__all__ = ["main"]

_CURVES: dict[str, type[RollerCoaster | Linear | Cosine | Constant]] = {
    "roller-coaster": RollerCoaster,
    "linear": Linear,
    "cosine": Cosine,
    "constant": Constant,
}


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line.

    Parameters
    ----------
    argv : sequence of str, optional
        Arguments after the program's name; those of the process by default.

    Returns
    -------
    int
        Exit status: 0, or 2 for bad arguments or a bad file.

    Examples
    --------
    >>> from ted_core.cli import main
    >>> main("plan --samples 100 --epochs 5 --batch-size 10".split())
    samples 100, epochs 5, planned save ratio 36.4 %
    optimizer steps 33 of 50
    epoch  keep ratio  samples  steps  loss scale
        0       1.000      100     10       1.000
        1       0.447       45      5       2.237
        2       0.384       38      4       2.605
        3       0.347       35      4       2.885
        4       1.000      100     10       1.000
    0
    """
    arguments = _parser().parse_args(argv)
    try:
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always", TedWarning)
            arguments.run(arguments)
        for warning in caught:
            print(f"ted: warning: {warning.message}", file=sys.stderr)
    except (ValueError, TypeError, OSError, ModuleNotFoundError) as error:
        print(f"ted: error: {error}", file=sys.stderr)
        return 2
    return 0


class _Parser(argparse.ArgumentParser):
    """A parser whose errors are one line, like all others of this program."""

    def error(self, message: str) -> NoReturn:
        self.exit(2, f"ted: error: {message}; see {self.prog} --help\n")


def _parser() -> argparse.ArgumentParser:
    parser = _Parser(
        prog="ted", description="Plan a run with data pruning, or look at a saved one."
    )
    parser.add_argument("--version", action="version", version=f"ted {__version__}")
    commands = parser.add_subparsers(required=True, metavar="COMMAND")
    plan = commands.add_parser(
        "plan",
        help="what a schedule keeps, saves and steps",
        description="Print, before training starts, what each epoch keeps, how many "
        "optimizer steps the run has and which share of the samples it saves.",
        epilog="example: ted plan --samples 50000 --epochs 200 --batch-size 128",
    )
    add = plan.add_argument
    for name, text in (
        ("--samples", "size of the data set"),
        ("--epochs", "epochs of the run, at least 2"),
        ("--batch-size", "samples of a batch, in one process"),
    ):
        add(name, type=int, required=True, help=text)
    for name, default, text in (
        ("--prune-ratio", 0.7, "s, share pruned at t = T"),
        ("--beta", 0.25, "shape of the roller-coaster"),
        ("--anneal", 0.125, "share of full-data epochs at the end"),
        ("--warmup", 0, "number of full-data epochs at the start"),
        ("--multiple-of", 1, "round kept counts up to multiples"),
        ("--accumulation", 1, "batches of an optimizer step"),
        ("--world-size", 1, "processes that share the samples"),
    ):
        add(name, type=type(default), default=default, help=f"{text} ({default})")
    text = "how the kept share falls (roller-coaster, Eq. 21)"
    add("--schedule", choices=list(_CURVES), default="roller-coaster", help=text)
    text = "T of the schedule: all epochs, or those that prune (all)"
    add("--horizon", choices=["all", "pruning"], default="all", help=text)
    add("--drop-last", action="store_true", help="the loader drops a short last batch")
    add("--plot", type=Path, metavar="FILE", help="draw the kept shares, by Matplotlib")
    plan.set_defaults(run=_plan)
    inspect = commands.add_parser(
        "inspect",
        help="what a saved state holds",
        description="Print the configuration, the counted savings, the not-finite "
        "values and the scores of a saved state, after checking that it is whole.",
        epilog="example: ted inspect run.ted --csv samples.csv",
    )
    add = inspect.add_argument
    text = (
        "a saved state, a file of torch.save with one inside, or a checkpoint's folder"
    )
    add("file", type=Path, metavar="FILE", help=text)
    text = "write every sample, most kept first"
    add("--csv", type=Path, metavar="OUT", help=text)
    add("--parquet", type=Path, metavar="OUT", help="the same, as Parquet")
    inspect.set_defaults(run=_inspect)
    return parser


def _plan(arguments: argparse.Namespace) -> None:
    curve = _CURVES[arguments.schedule]
    options = {f.name: getattr(arguments, f.name) for f in fields(curve) if f.init}
    # A pruner would allocate its scores: a plan of 10^9 samples needs none.
    run = make_config(
        arguments.samples,
        arguments.epochs,
        schedule=curve(**options),
        multiple_of=arguments.multiple_of,
    )
    loader: StepOptions = {
        "accumulation": arguments.accumulation,
        "world_size": arguments.world_size,
        "drop_last": arguments.drop_last,
    }
    visited = max_visited(run, run.keep_ratios)
    total = steps_of(run, visited, arguments.batch_size, **loader)
    single = single_sample_warning(run, visited, arguments.batch_size, **loader)
    if single:
        warnings.warn(single, TedWarning, stacklevel=2)
    saved = planned_save_ratio(
        run.schedule, run.epochs, n=run.n, multiple_of=run.multiple_of
    )
    steps = partial(steps_for, batch_size=arguments.batch_size, **loader)
    table = table_of(run, run.keep_ratios, run.kept_counts)
    print(
        f"samples {run.n}, epochs {run.epochs}, planned save ratio {100 * saved:.1f} %"
    )
    print(f"optimizer steps {total} of {run.epochs * steps(run.n)}")
    print("epoch  keep ratio  samples  steps  loss scale")
    for row in table[_rows(table)]:
        epoch, ratio, kept, _, scale = row.item()
        print(f"{epoch:5d}{ratio:12.3f}{kept:9d}{steps(kept):7d}{scale:12.3f}")
    if arguments.plot:
        _plot(arguments.plot, table)


def _rows(table: NDArray[np.void], max_rows: int = 20) -> NDArray[np.int64]:
    """Choose the rows to print: all of a short table, the turns of a long one."""
    if table.size <= max_rows:
        return np.arange(table.size)
    turns = np.flatnonzero(np.diff(table["keep_ratio"] == 1))
    spread = np.linspace(0, table.size - 1, max_rows - 4).astype(np.int64)
    return np.unique(np.concatenate([spread, turns, turns + 1]))


def _plot(path: Path, table: NDArray[np.void]) -> None:
    try:
        from matplotlib.figure import Figure  # noqa: PLC0415 - an extra
    except ModuleNotFoundError:
        msg = "--plot needs Matplotlib: pip install 'ted-core[plot]'"
        raise ValueError(msg) from None
    figure = Figure(figsize=(6, 3.5), layout="constrained")
    axes = figure.subplots()
    axes.step(table["epoch"], table["keep_fraction"], where="post", color="#0072B2")
    axes.set(xlabel="epoch t", ylabel="kept share of the data", ylim=(0, 1.05))
    with atomic_write(path) as file:
        figure.savefig(file, dpi=150, format=path.suffix.removeprefix(".") or "png")
    print(f"wrote {path}")


def _inspect(arguments: argparse.Namespace) -> None:
    saved = _read(arguments.file)
    state = {**current_state(saved), "version": saved["version"]}
    for name, value in state.items():
        if not isinstance(value, np.ndarray):
            _tell(name, value)
    for name in HISTORY + TOKENS:
        row = state.get(f"history.{name}")
        if isinstance(row, np.ndarray):
            _tell(f"history.{name}", f"{int(row.sum())} in {row.size} epochs")
    arrays: list[Any] = []
    for name in (
        *("scores.score", "scores.update_counts"),
        *("history.planned", "history.missing"),
    ):
        arrays.append(state.get(name))
        if not isinstance(arrays[-1], np.ndarray):
            msg = f"`{name}` must be an array in {arguments.file}, got {arrays[-1]!r}"
            raise CheckpointError(msg)
    score, updates, planned, missing = arrays
    forwarded = state.get("history.forwarded", planned - missing)
    savings = savings_of(score.size, planned, missing, forwarded)
    _tell("saved, planned", f"{100 * savings.planned_ratio:.1f} %")
    _tell("saved, forwarded", f"{100 * savings.ratio:.1f} %")
    valid = score[np.isfinite(score)]
    _tell("scored samples", f"{valid.size} of {score.size}")
    if valid.size:
        quantiles = np.quantile(valid, [0, 0.25, 0.5, 0.75, 1])
        _tell("score quartiles", " ".join(f"{q:.4g}" for q in quantiles))
        _tell("updates, mean", f"{updates.mean():.2f}")
    for kind in ("csv", "parquet"):
        if path := getattr(arguments, kind):
            scores = np.where(updates > 0, score, np.float32(np.nan))
            getattr(ordered(updates, scores), f"to_{kind}")(path)
            print(f"wrote {path}")


def _read(path: Path) -> Mapping[str, Any]:
    """Read a pruner's state from any file that the pages say how to write."""
    file, found = read_states(path)
    where, state = found[0]
    if where is not None:
        _tell("found in", " > ".join([file.name, *where]))
    for other, _ in found[1:]:
        _tell("not shown", " > ".join([file.name, *(other or ())]))
    return state


def _tell(name: str, value: object) -> None:
    print(f"{name:20} {value}")
