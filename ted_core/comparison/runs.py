"""Run the arms of a comparison in turns, and record each run."""

from __future__ import annotations

import json
import math
import operator
import os
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from statistics import fmean
from time import perf_counter
from typing import Any, NoReturn, Protocol, TypeAlias, runtime_checkable

import numpy as np

from ted_core._validation import (
    check_bool,
    check_epochs,
    check_int,
    check_real,
    short,
)
from ted_core.checkpoint import as_path, atomic_write
from ted_core.comparison._arms import FULL, Arm, as_list, describe, make_arms
from ted_core.comparison.results import Comparison, Key, Run, judge
from ted_core.config import RunConfig
from ted_core.errors import CheckpointError, ComparisonError
from ted_core.history import Report
from ted_core.schedules import Schedule

__all__ = ["compare"]

_FORMAT, _VERSION = "ted_core.compare", 1
_MIN_SEEDS, _MAX_SEEDS, _MIN_RATES = 3, 2**16, 2
_FIRST_SWEEP_SEED = 10**6  # far from the seeds that judge, however many there will be
_MIN_FORWARDED = 0.9  # share of the planned samples; a loader may drop last batches


@runtime_checkable
class _HasReport(Protocol):
    """A session: a pruner, a TED of an adapter, or what wraps one."""

    def report(self) -> Report:
        """Return the counts of the closed epochs."""


Train: TypeAlias = Callable[..., tuple[Any, _HasReport]]


def compare(
    train: Train,
    *,
    epochs: int,
    prune_ratio: float | None = None,
    schedule: Schedule | None = None,
    methods: Sequence[str] | Mapping[str, Mapping[str, Any]] = (
        "soft_margin",
        "ted_loss",
    ),
    budgets: Sequence[float] = (0.5, 1.0),
    seeds: int | Sequence[int] = 8,
    rates: Sequence[float] | None = None,
    sweep_seeds: int | Sequence[int] = 2,
    higher_is_better: bool = True,
    margin: float | None = None,
    record: str | os.PathLike[str] | None = None,
    progress: bool = True,
) -> Comparison:
    r"""Find out whether pruning pays on your data: train all arms, and judge.

    At each budget, a share of the samples that full training over `epochs` processes,
    every arm trains on as many samples: ``"full"``, all data for fewer epochs with a
    whole schedule of its own; ``"full, pruned rate"``, all data in turn with the steps
    and the loss scale of a pruned run; ``"random"``; and each method. A method pays
    where it beats the first three. Full training on all samples is always run.

    Parameters
    ----------
    train : callable
        ``train(*, seed, epochs, **options)``, and ``lr`` if `rates` are given. It makes
        a session with these `epochs` and `options` (``prune_ratio`` or ``schedule``,
        ``method`` or ``strategy``, ...), trains, closes the last epoch, and returns the
        metric, a number, and the session: a :class:`ted_core.Pruner`, a TED of an
        adapter, or what has a ``report()``.
    epochs : int
        Epochs of full training, at least 2.
    prune_ratio, schedule : float or Schedule, optional
        s of a :class:`ted_core.RollerCoaster`, 0.7 by default, or a schedule instead.
    methods : sequence of str, or mapping of str to mapping, optional
        Names for ``method=``, or options of the session by label. A method with a
        ``prune_ratio`` or ``schedule`` of its own has the epochs that these need.
    budgets : sequence of float, default (0.5, 1.0)
        Shares in (0, 1], each of 2 epochs or more. A pruned arm trains for as many
        epochs as bring its planned samples nearest to those of ``"full"``.
    seeds : int or sequence of int, default 8
        How many seeds judge, from 0 on, or which, 3 or more.
    rates : sequence of float, optional
        Learning rates, 2 or more. Each arm has at each budget its own best of them, by
        the mean over `sweep_seeds`; without rates, all have that of `train`.
    sweep_seeds : int or sequence of int, default 2
        Seeds that choose rates and judge nothing.
    higher_is_better : bool, default True
        Whether the metric is to be high; False for a loss.
    margin : float, optional
        Smallest difference of the metric that matters; by default the standard
        deviation of full training over the seeds.
    record : path, optional
        JSON file, written whole after each run. The same call goes on where it
        stopped; seeds, rates, budgets and methods may be added.
    progress : bool, default True
        Whether to tell of each run on the standard error: by tqdm if installed.

    Returns
    -------
    Comparison
        Print it: a table, a verdict and notes.

    Raises
    ------
    ValueError, TypeError
        An argument is out of its range; `train` returns something else, or its session
        got other options. What was measured is in the record.
    ComparisonError
        `train` raised an error; the message names the run, the cause is chained.
    CheckpointError
        The record is damaged, or of another comparison.
    FileNotFoundError
        There is no folder for the record.

    Notes
    -----
    Sweeps come first; then runs take turns, all arms of a seed before the next seed. A
    changed `train` needs another `record`. Samples are those that the report has as
    forwarded: a session that wraps another can add the forward passes of a proxy. A
    method whose kept count depends on its scores (:class:`ted_core.InfoBatch`) trains
    for the epochs of ``"full"``, on fewer samples.

    Examples
    --------
    >>> import numpy as np
    >>> import ted_core
    >>> def train(*, seed, epochs, **options):
    ...     rng = np.random.default_rng(seed)
    ...     pruner = ted_core.Pruner(40, epochs=epochs, seed=seed, **options)
    ...     while not pruner.finished:
    ...         ids = pruner.plan().order  # train on these
    ...         pruner.observe(ids, rng.random(ids.size))
    ...         pruner.advance()
    ...     return rng.normal(0.9, 0.01), pruner
    >>> result = ted_core.compare(
    ...     train, epochs=8, methods=["ted"], seeds=3, progress=False
    ... )
    >>> [row.arm for row in result.rows if row.budget == 0.5]
    ['full', 'full, pruned rate', 'random', 'ted']
    """
    if not callable(train):
        msg = f"`train` must be a function of seed, epochs and options, got {train!r}"
        raise TypeError(msg)
    if prune_ratio is None and schedule is None:
        prune_ratio = 0.7
    arms = make_arms(
        epochs,
        prune_ratio=prune_ratio,
        schedule=schedule,
        methods=methods,
        budgets=budgets,
    )
    judging = _seeds("seeds", seeds, first=0, minimum=_MIN_SEEDS)
    grid = None if rates is None else _check_rates(rates)
    sweep: list[int] = []
    if grid is not None:
        sweep = _seeds("sweep_seeds", sweep_seeds, first=_FIRST_SWEEP_SEED, minimum=1)
    shared = sorted(set(sweep) & set(judging))
    if shared:
        msg = f"`sweep_seeds` must not judge, got {shared[0]} among `seeds` as well"
        raise ValueError(msg)
    higher = check_bool("higher_is_better", higher_is_better)
    if margin is not None:
        margin = check_real("margin", margin, low=0, high=np.inf, closed="neither")
    told = check_bool("progress", progress)
    runs = Record(
        record,
        arms=arms,
        settings={
            "epochs": check_epochs(epochs),
            "prune_ratio": describe(prune_ratio),
            "schedule": describe(schedule),
            "higher_is_better": higher,
            "rates_given": grid is not None,
        },
    )
    runs.check_seeds(sweep=sweep, judging=judging)
    jobs = [
        Job(arm, seed, rate, sweep=True)
        for seed in sweep
        for arm in arms
        for rate in grid or ()
    ]
    more = len(judging) * len(arms)
    title = f"1 of 2, choosing rates, before {more} runs"
    _run_all(train, runs, jobs, title=title, told=told)
    rate_of: dict[Arm, float | None] = dict.fromkeys(arms)
    if grid is not None:
        sign = 1 if higher else -1
        rate_of = {arm: _best(arm, runs, sweep, grid, sign) for arm in arms}
    jobs = [Job(arm, seed, rate_of[arm]) for seed in judging for arm in arms]
    title = "2 of 2, judging" if sweep else "judging"
    _run_all(train, runs, jobs, title=title, told=told)
    measured = {
        arm: [runs.runs[arm.label, arm.budget, s, rate_of[arm]] for s in judging]
        for arm in arms
    }
    return judge(measured, higher_is_better=higher, margin=margin, rates=grid)


def _seeds(name: str, value: object, *, first: int, minimum: int) -> list[int]:
    """Return the seeds: as many from the first on, or those given."""
    remedy = f"paired differences need {_MIN_SEEDS}" if minimum > 1 else ""
    if isinstance(value, Sequence | np.ndarray):
        seeds = as_list(name, value)
        found = [check_int(name, each, minimum=0, maximum=2**32 - 1) for each in seeds]
        if len(set(found)) < len(found):
            twice = next(each for each in found if found.count(each) > 1)
            msg = f"`{name}` must differ, got {twice} twice"
            raise ValueError(msg)
        check_int(f"len({name})", len(found), minimum=minimum, remedy=remedy)
        return found
    count = check_int(name, value, minimum=minimum, maximum=_MAX_SEEDS, remedy=remedy)
    return list(range(first, first + count))


def _check_rates(rates: object) -> list[float]:
    """Return the grid of learning rates, ascending."""
    found = sorted(
        check_real("rates", rate, low=0, high=np.inf, closed="neither")
        for rate in as_list("rates", rates)
    )
    if len(set(found)) < max(_MIN_RATES, len(found)):
        msg = (
            f"`rates` must be {_MIN_RATES} or more and differ, got {found}; to "
            "have a single rate leave them out, and write it into `train`"
        )
        raise ValueError(msg)
    return found


def _best(
    arm: Arm, runs: Record, seeds: Sequence[int], grid: Sequence[float], sign: int
) -> float:
    """Return the rate of the best mean; of equal ones the lowest."""

    def mean(rate: float) -> float:
        key = arm.label, arm.budget
        return sign * fmean(runs.runs[*key, seed, rate].metric for seed in seeds)

    return max(grid, key=mean)


@dataclass(frozen=True, eq=False)
class Job:
    """A run to do."""

    arm: Arm
    seed: int
    rate: float | None
    sweep: bool = False

    @property
    def key(self) -> Key:
        """The run's."""
        return self.arm.label, self.arm.budget, self.seed, self.rate

    def __str__(self) -> str:
        """Tell the run from others."""
        rate = "" if self.rate is None else f", rate {self.rate:g}"
        kind = "sweep seed" if self.sweep else "seed"
        return f"{self.arm}, {kind} {self.seed}{rate}"


def _run_all(
    train: Train, runs: Record, jobs: Sequence[Job], *, title: str, told: bool
) -> None:
    """Run what the record lacks, and tell of it."""
    if told and runs.path is not None and any(job.key in runs.runs for job in jobs):
        sys.stderr.write(f"compare: {len(runs.runs)} runs are in {runs.path}\n")
    jobs = [job for job in jobs if job.key not in runs.runs]
    for job in _tell(jobs, title) if told else jobs:
        runs.add(_run(train, runs, job))


def _tell(jobs: Sequence[Job], title: str) -> Iterator[Job]:
    """Yield the jobs behind a bar of tqdm, or with a line each where there is none."""
    try:
        from tqdm import tqdm  # noqa: PLC0415 - an extra
    except ModuleNotFoundError:
        for number, job in enumerate(jobs):
            at = f"run {number + 1} of {len(jobs)}"
            sys.stderr.write(f"compare, {title}: {at}, {job}\n")
            yield job
        return
    with tqdm(jobs, desc=f"compare, {title}", unit="run", disable=not jobs) as bar:
        for job in bar:
            bar.set_postfix_str(str(job))
            yield job


def _run(train: Train, runs: Record, job: Job) -> Run:
    """Train once, and check what comes back."""
    given: dict[str, Any] = {
        **job.arm.options,
        "epochs": job.arm.epochs,
        "seed": job.seed,
    }
    if job.rate is not None:
        given["lr"] = job.rate
    kept = (
        ""
        if runs.path is None
        else f"; {len(runs.runs)} runs are in {runs.path}, the same call goes on there"
    )
    start = perf_counter()
    try:
        returned = train(**given)
    except Exception as error:
        msg = f"`train` failed in {job}: {type(error).__name__}: {error}{kept}"
        raise ComparisonError(msg) from error
    except BaseException as stop:
        stop.add_note(f"`compare` stopped in {job}{kept}")
        raise
    seconds = perf_counter() - start
    metric, session = _check_returned(returned, str(job))
    planned, samples, runs.n = _counts(session, job.arm, runs.n, str(job))
    return Run(
        arm=job.arm.label,
        budget=job.arm.budget,
        epochs=job.arm.epochs,
        seed=job.seed,
        rate=job.rate,
        sweep=job.sweep,
        metric=metric,
        planned=planned,
        samples=samples,
        seconds=round(seconds, 3),
    )


def _check_returned(returned: object, where: str) -> tuple[float, _HasReport]:
    """Return the metric and the session, or say what else came back."""
    rule = "`train` must return the metric, a finite number, and the session"
    if not isinstance(returned, tuple | list) or len(returned) != 2:  # noqa: PLR2004 - a pair
        msg = f"{rule}, got {short(returned)} in {where}"
        raise TypeError(msg)
    metric, session = returned
    if isinstance(metric, _HasReport):
        msg = f"{rule}, in this order, got the session first in {where}"
        raise TypeError(msg)
    if isinstance(session, type) or not isinstance(session, _HasReport):
        msg = f"{rule}, which has a `report()`, got {short(session)} in {where}"
        raise TypeError(msg)
    if tuple(getattr(metric, "shape", ())) != ():
        msg = f"{rule}, got shape {tuple(metric.shape)} in {where}; return its mean"
        raise TypeError(msg)
    try:
        number = check_real("metric", metric, low=-np.inf, high=np.inf)
    except TypeError:
        msg = f"{rule}, got {short(metric)} for the metric in {where}"
        raise TypeError(msg) from None
    except ValueError:
        number = np.nan
    if not np.isfinite(number):
        msg = (
            f"{rule}, got {number} for the metric in {where}; where a run diverges, "
            "return what guessing reaches, or leave out the rate"
        )
        raise ValueError(msg)
    return number, session


def _counts(
    session: _HasReport, arm: Arm, n: int | None, where: str
) -> tuple[int, int, int]:
    """Return planned and forwarded samples, and n, of a session that ran this arm."""
    report: Any = session.report()
    try:
        planned, forwarded, observed = (
            np.asarray(getattr(report, name), np.int64)
            for name in ("planned", "forwarded", "observed")
        )
    except (AttributeError, TypeError, ValueError) as error:
        msg = (
            f"`train` must return a session whose `report()` is a `ted_core.Report`, "
            f"got {short(report)} in {where}: {error}"
        )
        raise TypeError(msg) from None
    if n is None:  # the first run of all is of full training
        n = int(planned.max(initial=1))
    elif arm.label == FULL and planned.size and planned.max() != n:
        msg = (
            f"`train` must have the same samples in every run, {n}, got "
            f"{planned.max()} in {where}"
        )
        raise ValueError(msg)
    arm.check_plan(planned, n, where)
    config = getattr(getattr(session, "pruner", session), "config", None)
    if isinstance(config, RunConfig):
        arm.check_method(config, where)
    # A loop of one's own that observed nothing in an epoch has told of no sample.
    counted = np.where((observed > 0) | (forwarded > 0), forwarded, planned)
    if counted.sum() < _MIN_FORWARDED * planned.sum():
        msg = (
            f"`train` must forward the samples that its session plans, got "
            f"{counted.sum()} of {planned.sum()} in {where}; train every epoch to its "
            "end, last batches included, and hand its ids to the session"
        )
        raise ValueError(msg)
    return int(planned.sum()), int(counted.sum()), n


_TYPES: dict[str, tuple[type, ...]] = {
    "str": (str,),
    "int": (int,),
    "bool": (bool,),
    "float": (float, int),
    "float | None": (float, int, type(None)),
}


class Record:
    """The runs so far, by key; with a path each is on the disk before the next."""

    def __init__(
        self,
        path: str | os.PathLike[str] | None,
        *,
        arms: Sequence[Arm],
        settings: Mapping[str, Any],
    ) -> None:
        self.path = None if path is None else as_path(path)
        self.n: int | None = None
        self.runs: dict[Key, Run] = {}
        self._settings = dict(settings)
        self._options = {arm.label: describe(arm.options) for arm in arms}
        self._epochs = {(arm.label, arm.budget): arm.epochs for arm in arms}
        if self.path is None:
            return
        if not self.path.parent.is_dir() or self.path.is_dir():
            msg = f"`record` must be a file in a folder that is there, got {self.path}"
            raise FileNotFoundError(msg)
        if self.path.exists():
            self._read(self.path)
        else:
            self._write()  # a folder that can't be written to shows now

    def add(self, run: Run) -> None:
        """Take a run, and write it."""
        self.runs[run.key] = run
        self._write()

    def check_seeds(self, *, sweep: Sequence[int], judging: Sequence[int]) -> None:
        """Refuse seeds without those of the record, or with another task."""
        for run in self.runs.values():
            name, own, others = ("sweep_seeds", sweep, judging)
            if not run.sweep:
                name, own, others = ("seeds", judging, sweep)
            if run.seed not in own or run.seed in others:
                self._refuse(name, run.seed, list(own), "more seeds may be added")

    def _write(self) -> None:
        if self.path is None:
            return
        content = {
            "format": _FORMAT,
            "version": _VERSION,
            **self._settings,
            "n": self.n,
            "options": self._options,
            "runs": [asdict(run) for run in self.runs.values()],
        }
        with atomic_write(self.path) as file:
            file.write((json.dumps(content, indent=1) + "\n").encode())

    def _read(self, path: Path) -> None:
        try:
            content = json.loads(path.read_bytes())
            known = content["format"] == _FORMAT and content["version"] == _VERSION
            runs = [_run_of(each) for each in content["runs"]] if known else []
            options = dict(content["options"])
            n = None if content["n"] is None else operator.index(content["n"])
        except (KeyError, TypeError, ValueError) as error:
            known, reason = False, f": {type(error).__name__}: {error}"
        else:
            reason = f", {content['format']} of version {content['version']}"
        if not known:
            msg = (
                f"`record` must be a whole record of `compare`, version {_VERSION}, "
                f"got {path}{reason}; give another file"
            )
            raise CheckpointError(msg)
        for name, here in self._settings.items():
            if content.get(name) != here:
                self._refuse(name, content.get(name), here)
        for run in runs:
            self._check_run(run, options)
        self.n, self.runs = n, {run.key: run for run in runs}

    def _check_run(self, run: Run, options: Mapping[str, Any]) -> None:
        """Refuse a run of an arm that the call lacks: its claims would go unseen."""
        saved, here = (of.get(run.arm) for of in (options, self._options))
        if saved != here:
            self._refuse(f"methods[{run.arm!r}]", saved, here, "more may be added")
        epochs = self._epochs.get((run.arm, run.budget))
        if epochs is None:
            budgets = sorted({budget for _, budget in self._epochs})
            self._refuse("budgets", run.budget, budgets, "more may be added")
        if epochs != run.epochs:
            self._refuse(f"epochs of {run.arm!r}", run.epochs, epochs)

    def _refuse(
        self, name: str, saved: object, here: object, more: str = ""
    ) -> NoReturn:
        also = f"; {more}" if more else ""
        msg = (
            f"`{name}` must be as in {self.path}, recorded {saved!r}, here {here!r}"
            f"{also}; a comparison of other things needs a `record` of its own"
        )
        raise CheckpointError(msg)


def _run_of(values: Mapping[str, Any]) -> Run:
    """Return a run of the file, or say which value is none of a run."""
    for field in fields(Run):
        value = values[field.name]
        known = type(value) in _TYPES[str(field.type)]
        if not known or (isinstance(value, float) and not math.isfinite(value)):
            msg = f"{field.name} is {value!r}"
            raise TypeError(msg)
    return Run(**values)
