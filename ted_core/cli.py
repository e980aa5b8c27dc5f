"""The command line: ``ted plan`` and ``ted inspect``."""

from __future__ import annotations

import argparse
import os
import sys
import warnings
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import fields
from functools import partial
from pathlib import Path
from typing import Any, NoReturn

import numpy as np
from numpy.typing import NDArray

from ted_core import __version__
from ted_core._state import read_states, saved_method
from ted_core._validation import MAX_SAMPLES, check_int
from ted_core.checkpoint import atomic_write, current_state
from ted_core.config import (
    make_config,
    max_visited,
    single_sample_warning,
    steps_of,
    table_of,
)
from ted_core.errors import CheckpointError, TedWarning, warn_caller
from ted_core.history import HISTORY, TOKENS, import_optional, savings_of
from ted_core.reports.sample_table import SampleTable, ordered
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


_SAVINGS = "history.planned", "history.missing"
_OPEN = "open.observed"


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line.

    Parameters
    ----------
    argv : sequence of str, optional
        Arguments after the program's name; those of the process by default.

    Returns
    -------
    int
        Exit status: 0, 1 if the reader of a pipe has gone, as ``head`` does, or 2 for
        bad arguments or a bad file.

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
        sys.stdout.flush()  # here, and not at exit, a pipe without a reader shows
    except BrokenPipeError:
        # Python flushes once more at exit.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1
    except (ValueError, TypeError, OSError, ModuleNotFoundError) as error:
        print(f"ted: error: {getattr(error, 'strerror', error)}", file=sys.stderr)
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
    parser.set_defaults(run=lambda _: parser.print_help())
    commands = parser.add_subparsers(metavar="COMMAND")
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
        add(name, type=_number, required=True, help=text)
    for name, default, text in (
        ("--prune-ratio", 0.7, "s, share pruned at t = T"),
        ("--beta", 0.25, "shape of the roller-coaster"),
        ("--anneal", 0.125, "share of full-data epochs at the end"),
        ("--warmup", 0, "number of full-data epochs at the start"),
        ("--multiple-of", 1, "round kept counts up to multiples"),
        ("--accumulation", 1, "batches of an optimizer step"),
        ("--world-size", 1, "processes that share the samples"),
    ):
        kind = _number if isinstance(default, int) else float
        add(name, type=kind, default=default, help=f"{text} ({default})")
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
        description="Print how far a saved run is, what it saved, which samples it "
        "kept most and least often, and then all that its state holds, after checking "
        "that it is whole.",
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


def _number(text: str) -> int:
    """Return a number that is whole: 50000, 50_000 and 5e4 are the same."""
    try:
        return int(text)
    except ValueError:
        pass
    try:
        number = float(text)
    except ValueError:
        number = 0.5
    if not number.is_integer():
        msg = f"must be a whole number, as 50000, 50_000 or 5e4, got {text!r}"
        raise argparse.ArgumentTypeError(msg)
    return int(number)


@contextmanager
def _named(argument: str, path: Path, done: str) -> Iterator[None]:
    """Say in words which argument's file the system refuses."""
    try:
        yield
    except OSError as error:
        reason = (error.strerror or str(error)).lower()
        msg = (
            f"`{argument}` must be a file that can be {done}, got {str(path)!r}: "
            f"{reason}"
        )
        raise ValueError(msg) from None


def _plan(arguments: argparse.Namespace) -> None:
    check_int("--samples", arguments.samples, minimum=1, maximum=MAX_SAMPLES)
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
    then = "which `BatchNorm1d` refuses: give `--multiple-of {}`, or `--drop-last`"
    single = single_sample_warning(
        run, visited, arguments.batch_size, then=then, **loader
    )
    if single:
        warn_caller(single)
    saved = planned_save_ratio(
        run.schedule, run.epochs, n=run.n, multiple_of=run.multiple_of
    )
    steps = partial(steps_for, batch_size=arguments.batch_size, **loader)
    table = table_of(run, run.keep_ratios, run.kept_counts)
    head = (
        f"samples {run.n}, epochs {run.epochs}, planned save ratio {100 * saved:.1f} %"
    )
    if arguments.plot:  # first: after a table, who would look for an error
        _plot(arguments.plot, table, head)
    print(head)
    print(f"optimizer steps {total} of {run.epochs * steps(run.n)}")
    print("epoch  keep ratio  samples  steps  loss scale")
    for row in table[_rows(table)]:
        epoch, ratio, kept, _, scale = row.item()
        print(f"{epoch:5d}{ratio:12.3f}{kept:9d}{steps(kept):7d}{scale:12.3f}")
    if arguments.plot:
        print(f"wrote {arguments.plot}")


def _rows(table: NDArray[np.void], max_rows: int = 20) -> NDArray[np.int64]:
    """Choose the rows to print: all of a short table, the turns of a long one."""
    if table.size <= max_rows:
        return np.arange(table.size)
    turns = np.flatnonzero(np.diff(table["keep_ratio"] == 1))
    spread = np.linspace(0, table.size - 1, max_rows - 4).astype(np.int64)
    return np.unique(np.concatenate([spread, turns, turns + 1]))


def _plot(path: Path, table: NDArray[np.void], title: str) -> None:
    matplotlib = import_optional("matplotlib.figure", needed_by="--plot", extra="plot")
    figure = matplotlib.Figure(figsize=(6, 3.5), layout="constrained")
    kind = path.suffix.removeprefix(".") or "png"
    known = figure.canvas.get_supported_filetypes()
    if kind.lower() not in known:
        msg = f"`--plot` must end in one of {', '.join(known)}, got {str(path)!r}"
        raise ValueError(msg)
    axes = figure.subplots()
    axes.set_title(title, fontsize="medium")
    axes.step(table["epoch"], table["keep_fraction"], where="post", color="#0072B2")
    axes.xaxis.get_major_locator().set_params(integer=True)
    axes.set(xlabel="epoch t", ylabel="kept share of the data", ylim=(0, 1.05))
    with _named("--plot", path, "written"), atomic_write(path) as file:
        figure.savefig(file, dpi=150, format=kind)


def _inspect(arguments: argparse.Namespace) -> None:
    path: Path = arguments.file
    with _named("FILE", path, "read"):
        latest, *others = read_states(path)
    state = {**current_state(latest.state), "version": latest.state["version"]}
    for name in ("scores.score", "scores.update_counts", *_SAVINGS):
        if not isinstance(state.get(name), np.ndarray):
            msg = f"`{name}` must be an array in {path}, got {state.get(name)!r}"
            raise CheckpointError(msg)
    score, updates = state["scores.score"], state["scores.update_counts"]
    method, signal = saved_method(state)
    scores = np.where(updates > 0, score, np.float32(np.nan))
    samples = ordered(updates, scores, signal)
    written = [kind for kind in ("csv", "parquet") if getattr(arguments, kind)]
    for kind in written:
        out = getattr(arguments, kind)
        with _named(f"--{kind}", out, "written"):
            getattr(samples, f"to_{kind}")(out)
    planned, missing = (state[name] for name in _SAVINGS)
    forwarded = state.get("history.forwarded", planned - missing)
    savings = savings_of(score.size, planned, missing, forwarded)
    of_all = f"{savings.forwarded} of {savings.full} samples forwarded"
    _tell("epoch", _progress(state, latest.position))
    _tell("samples", score.size)
    _tell("samples saved", f"{100 * savings.ratio:.1f} %, {of_all}")
    _tell("method", method)
    _tell("most kept", _kept(samples, slice(5)))
    _tell("least kept", _kept(samples, slice(None, -6, -1)))
    if not samples.reads_labels:
        chosen = f"{signal!r} does not" if signal else "no signal did"
        _tell("", f"no suspects of wrong labels: {chosen} read the labels")
    print("\nThe state")
    _tell("found in", latest.source)
    for other in others:
        _tell("not shown", other.source)
    _print_state(state)
    _tell("saved, planned", f"{100 * savings.planned_ratio:.1f} %")
    _tell("saved, forwarded", f"{100 * savings.ratio:.1f} %")
    for kind in written:
        print(f"wrote {getattr(arguments, kind)}")


def _print_state(state: Mapping[str, Any]) -> None:
    """Print the fields of a state: numbers as they are, arrays summed up."""
    for name, value in state.items():
        # An open epoch's values are elsewhere in a session's state.
        if not isinstance(value, np.ndarray) and (name, value) != (_OPEN, 0):
            _tell(name, _in_words(name, value))
    for name in HISTORY + TOKENS:
        row = state.get(f"history.{name}")
        if isinstance(row, np.ndarray):
            _tell(f"history.{name}", f"{int(row.sum())} in {row.size} epochs")
    score = state["scores.score"]
    valid = score[np.isfinite(score)]
    _tell("scored samples", f"{valid.size} of {score.size}")
    if valid.size:
        quantiles = np.quantile(valid, [0, 0.25, 0.5, 0.75, 1])
        _tell("score quartiles", " ".join(f"{q:.4g}" for q in quantiles))
        _tell("updates, mean", f"{state['scores.update_counts'].mean():.2f}")


def _in_words(name: str, value: object) -> object:
    """Return a state's field, in words where it is a code."""
    if name in {"labels", "lengths"}:
        return "none" if value == -1 else f"given, checksum {value}"
    if name == "schedule.horizon":
        return {"all": "all epochs", "pruning": "the epochs that prune"}.get(
            str(value), value
        )
    return value


def _progress(state: Mapping[str, Any], position: int) -> str:
    """Return how far a state's run is, and a session in the samples of its epoch."""
    epoch, epochs = state.get("epoch"), state.get("epochs")
    if epoch == epochs:
        return f"{epoch} of {epochs}: finished"
    if state.get("stopped"):
        return f"{epoch} of {epochs}: stopped early"
    begun = ", begun" * bool(state.get(_OPEN))
    return f"{epoch} of {epochs}" + (f", {position} samples in" if position else begun)


def _kept(samples: SampleTable, rows: slice) -> str:
    """Return some samples, each with the number of epochs that kept it."""
    if not samples.update_counts.any():
        return "none yet"
    ids, counts = samples.ids[rows].tolist(), samples.update_counts[rows].tolist()
    pairs = zip(ids, counts, strict=True)
    return ", ".join(f"{k} ({times}x)" for k, times in pairs)


def _tell(name: str, value: object) -> None:
    print(f"{name:20} {value}")
