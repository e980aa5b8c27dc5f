"""What a comparison found: rows, claims, a verdict in a sentence, a picture."""

from __future__ import annotations

import math
import os
from bisect import bisect_left
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from importlib import import_module
from itertools import groupby
from statistics import fmean, median, stdev
from typing import Any, TypeAlias

from ted_core.checkpoint import as_path, atomic_write
from ted_core.comparison._arms import CONTROLS, FULL, PRUNED_RATE, RANDOM, Arm
from ted_core.comparison._statistics import (
    LEVEL,
    Difference,
    critical_t,
    holm,
    paired_difference,
)
from ted_core.history import import_optional

__all__ = ["Comparison", "Row"]

ALL = "full on all"
"""Full training on all samples, beside the arms of a smaller budget."""

_MOST_SEEDS = 1000
_FAR = 0.5  # distance of a seed from its arm's median, as a share of the median
_UNEQUAL = 0.05  # share of the samples by which arms of a budget differ without a note
_COLOURS = ("#000000", "#999999", "#E69F00", "#0072B2", "#D55E00", "#009E73", "#CC79A7")
_MARKERS = ("s", "D", "v", "o", "^", "P", "X")

Key: TypeAlias = tuple[str, float, int, float | None]


@dataclass(frozen=True)
class Run:
    """One training, measured."""

    arm: str
    budget: float
    epochs: int
    seed: int
    rate: float | None  # None where `train` has a rate of its own
    sweep: bool  # whether it chooses a rate, and judges nothing
    metric: float
    planned: int  # samples
    samples: int  # forwarded
    seconds: float

    @property
    def key(self) -> Key:
        """What tells this run from the others of a comparison."""
        return self.arm, self.budget, self.seed, self.rate


@dataclass(frozen=True, eq=False, kw_only=True)
class Row:
    """An arm at a budget.

    Parameters
    ----------
    arm : str
        ``"full"``, ``"full, pruned rate"``, ``"random"``, or a method's label.
    budget : float
        Share of the samples of full training, in (0, 1].
    epochs : int
        Epochs of the arm.
    samples : float
        Samples forwarded, the mean over the seeds.
    rate : float or None
        Learning rate, the best of those tried; None if `train` has its own.
    metrics : tuple of float
        Metric of each seed.
    mean, sd : float
        Mean and standard deviation of the metrics.
    seconds : float
        Mean time of a call of `train`.
    over : mapping of str to Difference
        Paired gains, positive where the arm is better, whatever the metric: over the
        controls of its budget, by their names, and below a budget of 1 over full
        training on all samples, ``"full on all"``.
    p : float or None
        That the arm is above its controls: a method above all three, which is the
        largest of their p; a pruned control above ``"full"``. 1 where it is not above
        one of them. Corrected over all `p` and `p_over_all` of the comparison.
    p_over_all : float or None
        That a method is above full training on all samples, corrected likewise.
    """

    arm: str
    budget: float
    epochs: int
    samples: float
    rate: float | None
    metrics: tuple[float, ...]
    mean: float
    sd: float
    seconds: float
    over: Mapping[str, Difference]
    p: float | None
    p_over_all: float | None

    @property
    def pays(self) -> bool:
        """Whether the arm is above its controls, by a corrected p below 0.05."""
        return self.p is not None and self.p < LEVEL


@dataclass(frozen=True, eq=False, kw_only=True)
class Comparison:
    """What :func:`ted_core.compare` found; its text is a table, a verdict and notes.

    Parameters
    ----------
    rows : tuple of Row
        By budget, the controls before the methods.
    n, epochs : int
        Samples of the data, and epochs of full training.
    seeds : tuple of int
        Seeds that judge.
    claims : int
        Size of the family of tests over which p is corrected.
    margin : float
        Smallest difference that matters.
    higher_is_better : bool
        Whether the metric is to be high.
    verdict : str
        A sentence: for each budget whether a method pays there, only the recipe does, a
        shorter full run is as good, pruning loses, or the seeds are too few to say.
    notes : tuple of str
        What to bear in mind: rates at the edge of the grid, unequal samples, seeds so
        far apart that a run may have failed.
    """

    rows: tuple[Row, ...]
    n: int
    epochs: int
    seeds: tuple[int, ...]
    claims: int
    margin: float
    higher_is_better: bool
    verdict: str
    notes: tuple[str, ...]

    def __str__(self) -> str:
        """Return table, verdict and notes."""
        return "\n".join(_text(self))

    def to_dict(self) -> dict[str, Any]:
        """Return all of it as JSON can hold it.

        Returns
        -------
        dict of str to object
            The fields; rows and differences as dicts.
        """
        return asdict(self)

    def plot(
        self,
        path: str | os.PathLike[str],
        *,
        metric: str = "metric",
        title: str = "Budget curve",
    ) -> None:
        """Draw the budget curve: the metric over the samples processed.

        Arms of one budget stand side by side, so that each can be seen.

        Parameters
        ----------
        path : path
            Picture to write, by Matplotlib; the suffix says of which kind.
        metric : str, default "metric"
            Name of the vertical axis.
        title : str, default "Budget curve"
            Title of the picture.

        Raises
        ------
        ModuleNotFoundError
            There is no Matplotlib; the extra ``plot`` has it.
        ValueError, OSError
            Matplotlib can't write this kind of picture, or there is no such folder.
        """
        target = as_path(path)
        matplotlib = import_optional("matplotlib", needed_by="plot", extra="plot")
        made_by = import_module("matplotlib.figure")
        figure = made_by.Figure(figsize=(8, 4.2), layout="constrained")
        axes = figure.subplots()
        labels = list(dict.fromkeys(row.arm for row in self.rows))
        total, n = max(row.samples for row in self.rows), len(self.seeds)
        half = critical_t(n - 1, LEVEL) / math.sqrt(n)
        for index, label in enumerate(labels):
            rows = [row for row in self.rows if row.arm == label]
            # Arms of a budget have the same samples: side by side they can be read.
            aside = 0.006 * total * (index - (len(labels) - 1) / 2)
            axes.errorbar(
                [row.samples + aside for row in rows],
                [row.mean for row in rows],
                [half * row.sd for row in rows],
                label=label,
                color=_COLOURS[index % len(_COLOURS)],
                marker=_MARKERS[index % len(_MARKERS)],
                linestyle="--" if label in CONTROLS else "-",
                capsize=2,
            )
        mark = _mark(self.rows).mean
        axes.axhline(mark, color=_COLOURS[0], linewidth=0.8, linestyle=":", label=ALL)
        better = "" if self.higher_is_better else ", lower is better"
        axes.set(
            title=title,
            xlabel=f"samples processed (bars: 95 % interval of the mean of {n} seeds)",
            ylabel=f"{metric}{better}",
            xlim=(0, 1.06 * total),
        )
        axes.spines[["top", "right"]].set_visible(False)
        figure.legend(frameon=False, loc="outside right upper")
        kind = target.suffix.removeprefix(".") or "png"
        # The same comparison gives the same file.
        undated: dict[str, Any] = {"metadata": {"Date": None}} if kind == "svg" else {}
        salted = matplotlib.rc_context({"svg.hashsalt": "ted-core"})
        with salted, atomic_write(target) as file:
            figure.savefig(file, dpi=150, format=kind, **undated)


def judge(
    measured: Mapping[Arm, Sequence[Run]],
    *,
    higher_is_better: bool,
    margin: float | None,
    rates: Sequence[float] | None,
) -> Comparison:
    """Return what the runs of each arm say, one run a seed, in the same order."""
    sign = 1 if higher_is_better else -1
    gained = {
        (arm.label, arm.budget): [sign * run.metric for run in runs]
        for arm, runs in measured.items()
    }
    _check_seed_matters(gained)
    over: dict[Arm, dict[str, Difference]] = {}
    ps: dict[tuple[Arm, str], float] = {}
    for arm in measured:
        mine, method = gained[arm.label, arm.budget], arm.label not in CONTROLS
        before = CONTROLS if method else CONTROLS[: CONTROLS.index(arm.label)]
        others = {label: gained[label, arm.budget] for label in before}
        if arm.budget < 1:
            others[ALL] = gained[FULL, 1.0]
        over[arm] = {
            label: paired_difference(mine, other) for label, other in others.items()
        }
        if before:
            rivals = before if method else (FULL,)
            ps[arm, "p"] = max(_p_above(over[arm][label]) for label in rivals)
        if method and ALL in others:
            ps[arm, ALL] = _p_above(over[arm][ALL])
    corrected = dict(zip(ps, holm(list(ps.values())), strict=True))
    rows = tuple(
        Row(
            arm=arm.label,
            budget=arm.budget,
            epochs=arm.epochs,
            samples=fmean(run.samples for run in runs),
            rate=runs[0].rate,
            metrics=tuple(run.metric for run in runs),
            mean=fmean(run.metric for run in runs),
            sd=stdev(run.metric for run in runs),
            seconds=fmean(run.seconds for run in runs),
            over=over[arm],
            p=corrected.get((arm, "p")),
            p_over_all=corrected.get((arm, ALL)),
        )
        for arm, runs in measured.items()
    )
    mark, given = _mark(rows), margin is not None
    margin = mark.sd if margin is None else margin
    clauses = [
        _Clause(full, pruned, margin, len(ps), _places(rows)).text()
        for _, (full, *pruned) in groupby(rows, key=lambda row: row.budget)
        if pruned
    ]
    verdict = "; ".join(clauses)
    runs = next(iter(measured.values()))
    return Comparison(
        rows=rows,
        n=runs[0].planned // rows[0].epochs,
        epochs=mark.epochs,
        seeds=tuple(run.seed for run in runs),
        claims=len(ps),
        margin=margin,
        higher_is_better=higher_is_better,
        verdict=f"{verdict[0].upper()}{verdict[1:]}.",
        notes=(
            *_notes_of_rates(rows, rates),
            *_notes_of_samples(rows),
            *_notes_of_schedules(measured),
            *_notes_of_spread(rows, None if given else margin),
        ),
    )


def _check_seed_matters(gained: Mapping[tuple[str, float], Sequence[float]]) -> None:
    """Refuse a function whose metric is another for other arms, but not for seeds."""
    same = all(len(set(values)) == 1 for values in gained.values())
    if same and len({values[0] for values in gained.values()}) > 1:
        msg = (
            "`train` must depend on its `seed`, got the same metric for all seeds in "
            "every arm; seed the model, the order of the data and the session with it"
        )
        raise ValueError(msg)


def _p_above(gain: Difference) -> float:
    """Return the p of a gain; 1 for a loss, which bears no claim."""
    return gain.p if gain.mean > 0 else 1.0


def _mark(rows: Sequence[Row]) -> Row:
    """Return full training on all samples."""
    return next(row for row in rows if row.arm == FULL and row.budget == 1)


class _Clause:
    """What the verdict says of one budget."""

    def __init__(
        self, full: Row, pruned: Sequence[Row], margin: float, claims: int, places: int
    ) -> None:
        self._full, self._pruned, self._margin = full, pruned, margin
        self._methods = [row for row in pruned if row.arm not in CONTROLS]
        self._claims, self._places = claims, places
        self._short = "a shorter full run" if full.budget < 1 else "full training"

    def text(self) -> str:
        """Return the first of the cases that holds, and how it stands to full data."""
        cases = (self._method, self._recipe, self._loss, self._as_good, self._too_few)
        lead, text = next(found for case in cases if (found := case()) is not None)
        return f"at {_percent(lead.budget)} of the samples {text}{self._reach(lead)}"

    def _method(self) -> tuple[Row, str] | None:
        paying = [row for row in self._methods if row.pays]
        paying.sort(key=_least, reverse=True)
        if not paying:
            return None
        names = " and ".join(row.arm for row in paying)
        pay = "pays: it is" if len(paying) == 1 else "pay: they are"
        by = " and ".join(
            f"{self._number(_least(row))} ({_p(row.p)})" for row in paying
        )
        return paying[0], f"{names} {pay} {by} above the best control"

    def _recipe(self) -> tuple[Row, str] | None:
        paying = [row for row in self._pruned if row.pays]
        if not paying:
            return None
        lead = max(paying, key=lambda row: row.over[FULL].mean)
        by = self._number(lead.over[FULL].mean)
        return lead, (
            f"only the recipe pays: {lead.arm!r} is above {self._short} by {by} "
            f"({_p(lead.p)}), and no method is shown to be above all controls"
        )

    def _loss(self) -> tuple[Row, str] | None:
        gains = [row.over[FULL] for row in self._methods]
        if any(gain.high >= 0 for gain in gains):
            return None
        by = self._number(-max(gain.mean for gain in gains))
        text = f"pruning loses: every method is below {self._short}, by {by} or more"
        return self._full, text

    def _as_good(self) -> tuple[Row, str] | None:
        most = max(row.over[FULL].high for row in self._pruned)
        if most >= self._margin:
            return None
        return self._full, (
            f"{self._short} is as good: no pruned arm is above it by as much as the "
            f"margin of {self._number(self._margin)}, by their 95 % intervals"
        )

    def _too_few(self) -> tuple[Row, str]:
        lead = max(self._methods, key=_least)
        n = len(lead.metrics)
        sd = min(max(row.over[c].sd for c in CONTROLS) for row in self._methods)
        seen = self._shown(n, sd)
        wanted = ""
        if seen > self._margin:

            def shows(seeds: int) -> bool:
                return self._shown(seeds, sd) <= self._margin

            enough = n + bisect_left(range(n, _MOST_SEEDS), x=True, key=shows)
            or_more = " or more" * (enough == _MOST_SEEDS)
            margin = self._number(self._margin)
            wanted = (
                f", where {enough}{or_more} seeds would show the margin of {margin}"
            )
        return lead, (
            f"{n} seeds are too few to say: they show gains from about "
            f"{self._number(seen)} on{wanted}, and the best method, {lead.arm}, is "
            f"{_least(lead):+.{self._places}f} from the best control"
        )

    def _shown(self, n: int, sd: float) -> float:
        """Return the least gain that the first test of the family would show."""
        return critical_t(n - 1, LEVEL / self._claims) * sd / math.sqrt(n)

    def _reach(self, row: Row) -> str:
        gain = row.over.get(ALL)
        if gain is None:
            return ""
        p = row.p_over_all
        if p is not None and p < LEVEL:
            how = f"ends above full training on all samples ({_p(p)}, "
        elif gain.high < 0:
            how = "stays below full training on all samples ("
        elif gain.low > -self._margin:
            how = "is as good as full training on all samples, or better ("
        else:
            how = "can't be told from full training on all samples ("
        who = "the shorter full run" if row.arm == FULL else row.arm
        low, high = (f"{x:+.{self._places}f}" for x in (gain.low, gain.high))
        return f", and {who} {how}95 % interval {low} to {high})"

    def _number(self, value: float) -> str:
        return f"{value:.{self._places}f}"


def _least(row: Row) -> float:
    """Return a method's gain over the best control."""
    return min(row.over[label].mean for label in CONTROLS)


def _notes_of_rates(
    rows: Sequence[Row], rates: Sequence[float] | None
) -> Iterator[str]:
    if rates is None:
        yield (
            "All arms trained at the learning rate of `train`. The rate is often worth "
            "more than the choice of samples: `rates` gives each arm its own best."
        )
        return
    for edge, word, other in (
        (max(rates), "highest", "higher"),
        (min(rates), "lowest", "lower"),
    ):
        there = [_name(row) for row in rows if row.rate == edge]
        if there:
            yield (
                f"The best rate is the {word} that was tried, {edge:g}, for "
                f"{', '.join(there)}; {other} ones may be better still."
            )


def _notes_of_samples(rows: Sequence[Row]) -> Iterator[str]:
    full = {row.budget: row.samples for row in rows if row.arm == FULL}
    uneven = [
        f"{_name(row)} {more:+.0%}"
        for row in rows
        if abs(more := row.samples / full[row.budget] - 1) > _UNEQUAL
    ]
    if uneven:
        yield f"Samples processed, against 'full' at the budget: {', '.join(uneven)}."


def _notes_of_schedules(measured: Iterable[Arm]) -> Iterator[str]:
    """Name the methods whose controls keep other shares of the data."""
    schedules = {
        arm.label: [arm.options.get(name) for name in ("prune_ratio", "schedule")]
        for arm in measured
        if arm.label != FULL
    }
    own = [repr(name) for name, one in schedules.items() if one != schedules[RANDOM]]
    if own:
        yield (
            f"{', '.join(own)}: with a schedule of its own, other than that of "
            f"{RANDOM!r} and {PRUNED_RATE!r}; give `compare` the `schedule` to learn "
            "what the choice of samples does."
        )


def _notes_of_spread(rows: Sequence[Row], margin: float | None) -> Iterator[str]:
    """Name the arms with a seed so far off that its run may have failed."""
    wide = []
    for row in rows:
        middle = median(row.metrics)
        if max(abs(one - middle) for one in row.metrics) > _FAR * abs(middle):
            wide.append(row)
    if not wide:
        return
    found = ", ".join(
        f"{_name(row)} from {min(row.metrics):.4g} to {max(row.metrics):.4g}"
        for row in wide
    )
    note = f"A run may have failed, for the seeds lie far apart: {found}."
    if margin is not None and _mark(rows) in wide:
        note += (
            f" So the margin, the standard deviation of full training, is {margin:.4g}:"
            " give `margin=` the smallest difference that matters."
        )
    yield note


def _name(row: Row) -> str:
    return f"{row.arm!r} at {_percent(row.budget)}"


def _percent(share: float) -> str:
    return f"{100 * share:.4g} %"


def _p(p: float | None) -> str:
    return f"p {p:.2g}"


def _places(rows: Sequence[Row]) -> int:
    """Return the decimals that show two digits of the spread over the seeds."""
    spread = median(row.sd for row in rows)
    return max(0, 1 - math.floor(math.log10(spread))) if spread > 0 else 4


def _text(found: Comparison) -> Iterator[str]:
    """Yield the lines of the table, the verdict and the notes."""
    places = _places(found.rows)
    wide = max(17, *(len(row.arm) for row in found.rows))
    columns = ("epochs", 8), ("samples", 12), ("rate", 9), ("mean", 11), ("sd", 9)
    head = f"{'arm':{wide}}  budget"
    yield head + "".join(f"{name:>{size}}" for name, size in (*columns, ("seconds", 9)))
    for row in found.rows:
        rate = "" if row.rate is None else f"{row.rate:.4g}"
        yield (
            f"{row.arm:{wide}}{_percent(row.budget):>8}{row.epochs:8d}"
            f"{row.samples:12.0f}{rate:>9}{row.mean:11.{places}f}{row.sd:9.{places}f}"
            f"{row.seconds:9.2f}"
        )
    yield f"\n{head}  {'over':{wide}}{'gain':>10}  {'95 % interval':20}{'p':>8}"
    for row in found.rows:
        name = f"{row.arm:{wide}}{_percent(row.budget):>8}"
        for line in _gains(row, places, wide):
            yield f"{name}  {line}".rstrip()
            name = " " * len(name)
    yield (
        f"\n{len(found.seeds)} seeds, paired; gains are positive; p by Holm over "
        f"{found.claims} claims; margin {found.margin:.{places}f}."
    )
    yield f"\n{found.verdict}"
    for note in found.notes:
        yield f"\nNote: {note}"


def _gains(row: Row, places: int, wide: int) -> Iterator[str]:
    """Yield a line for each gain of an arm, and a p where its claim is whole."""
    method = row.arm not in CONTROLS
    for label, gain in row.over.items():
        p = row.p_over_all if label == ALL else row.p
        if label == ALL and method:
            yield f"{'all three':{wide}}{'':32}{row.p:8.2g}"
        last = p is not None and (label == ALL or (label == FULL and not method))
        low, high = f"{gain.low:+.{places}f}", f"{gain.high:+.{places}f}"
        yield (
            f"{label:{wide}}{gain.mean:+10.{places}f}  {f'{low} to {high}':20}"
            f"{f'{p:8.2g}' if last else ''}"
        )
    if method and ALL not in row.over:
        yield f"{'all three':{wide}}{'':32}{row.p:8.2g}"
