"""What a run is, fixed before it starts: checked once, compared on resume."""

from __future__ import annotations

import difflib
import inspect
import zlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cached_property
from os import PathLike
from types import MappingProxyType
from typing import Any, Protocol, TypeAlias, TypedDict, Unpack

import numpy as np
from numpy.typing import ArrayLike, NDArray

from ted_core._validation import (
    as_array,
    check_bool,
    check_epochs,
    check_int,
    check_kind,
    check_samples,
)
from ted_core.checkpoint import kind_fields
from ted_core.errors import warn_caller
from ted_core.reductions import Count, Polyak, Reduction
from ted_core.schedules import (
    RollerCoaster,
    Schedule,
    StepOptions,
    keep_counts,
    keep_ratios,
    planned_save_ratio,
    steps_for,
)
from ted_core.selection.sharded import Layout, Shard
from ted_core.signals import SIGNALS
from ted_core.strategies import Importance, Random, SoftTop, Strategy, TopScore
from ted_core.strategies.base import Labels
from ted_core.typing import Floats, State

__all__ = ["METHODS", "RunOptions"]

METHODS: Mapping[str, tuple[str, Strategy]] = MappingProxyType(
    {
        "ted": ("mask_gradient", TopScore()),
        "ted_loss": ("loss", TopScore()),
        "soft_margin": ("margin", SoftTop()),
        "importance": ("el2n", Importance()),
        "random": ("mask_gradient", Random()),
    }
)
"""The signal and the strategy of each ``method=``.

``"ted"`` is the paper's Algorithm 1, ``"ted_loss"`` the same on the loss (Table 6);
``"soft_margin"`` selects by rank among the samples whose two best classes are close;
``"importance"`` draws in proportion to the gradient's norm at the logits, and weighs;
``"random"`` selects anew at random in each epoch.
"""

_FEW_EPOCHS, _LITTLE_SAVED = 5, 1 / 3


class _Scored(Protocol):
    """A table of scores, such as `ted_core.sample_table` makes."""

    @property
    def ids(self) -> NDArray[Any]: ...
    @property
    def scores(self) -> NDArray[Any]: ...


InitialScores: TypeAlias = ArrayLike | PathLike[str] | Mapping[str, Any] | _Scored
"""Scores that a run starts from: an array, a table, a state, or a file of these."""


class RunOptions(TypedDict, total=False):
    """Options of :class:`ted_core.Pruner`, and of every session, that have a default.

    :class:`ted_core.Pruner` says what they mean.
    """

    prune_ratio: float | None
    schedule: Schedule | None
    method: str | None
    strategy: Strategy | None
    signal: str | None
    reduction: Reduction | None
    seed: int
    multiple_of: int
    scale_loss: bool
    labels: ArrayLike | None
    lengths: ArrayLike | None
    initial_scores: InitialScores | None
    shard: Shard | None


@dataclass(frozen=True, eq=False)
class RunConfig:
    """The parameters of a run, checked; see :class:`ted_core.Pruner` for each."""

    n: int
    epochs: int
    schedule: Schedule
    strategy: Strategy
    signal: str
    reduction: Reduction
    seed: int
    multiple_of: int
    scale_loss: bool
    labels: Labels | None = None
    lengths: NDArray[np.int32] | None = None
    shard: Shard | None = None

    def __post_init__(self) -> None:
        """Refuse what makes no run."""
        for name, value in (
            ("epochs", check_epochs(self.epochs, minimum=1)),
            ("n", check_samples(self.n)),
            ("seed", check_int("seed", self.seed, minimum=0, maximum=2**64 - 1)),
            ("scale_loss", check_bool("scale_loss", self.scale_loss)),
            ("multiple_of", check_int("multiple_of", self.multiple_of, minimum=1)),
        ):
            object.__setattr__(self, name, value)
        check_kind("schedule", self.schedule, Schedule)
        check_kind("strategy", self.strategy, Strategy)
        check_kind("reduction", self.reduction, Reduction)
        if not isinstance(self.signal, str) or self.signal not in SIGNALS:
            msg = f"`signal` must be one of {', '.join(SIGNALS)}, got {self.signal!r}"
            raise ValueError(msg)
        if self.keep_ratios[0] == 1:
            check_epochs(self.epochs)
        _check_reduction(self.signal, self.strategy, self.reduction)
        if self.lengths is not None and self.multiple_of == 1:
            msg = (
                "`multiple_of` must be the samples of a batch, of all processes "
                "together, for `lengths` to be grouped in batches, got 1"
            )
            raise ValueError(msg)
        self.layout.check(self.strategy)
        self.strategy.check(self.n, int(self.kept_counts.min()), self.labels)
        late = self.keep_ratios[0] == 1  # as opposed to pruning from the start on
        if self.epochs < _FEW_EPOCHS and self.schedule.prune_ratio > 0 and late:
            saved = planned_save_ratio(
                self.schedule, self.epochs, n=self.n, multiple_of=self.multiple_of
            )
            pruned = int((self.keep_ratios < 1).sum())
            bound = "" if self.strategy.known_count else "at most "
            msg = (
                f"`epochs`={self.epochs} saves little, {bound}{saved:.1%} of the "
                f"samples: only {pruned} of the epochs prune; pruning pays over many "
                "epochs"
            )
            if saved < _LITTLE_SAVED:
                warn_caller(msg)

    @property
    def method(self) -> str:
        """The value of ``method=`` for signal and strategy, or else both of them."""
        return method_name(self.signal, self.strategy)

    @property
    def chosen_by(self) -> str:
        """The argument that chose the signal, as a user writes it."""
        named = self.method in METHODS
        return f"method={self.method!r}" if named else f"signal={self.signal!r}"

    def no_classes(self, found: str) -> str:
        """Return what to say where the signal needs classes, and there are none."""
        return (
            f"`{self.chosen_by}` needs an output of classes, shape (B, C), got "
            f"{found}; take method='ted' or method='ted_loss'"
        )

    @cached_property
    def layout(self) -> Layout:
        """How the data lies on the processes."""
        return Layout(self.n, self.shard)

    @property
    def known_count(self) -> bool:
        """Whether the schedule alone tells how many samples a process trains on."""
        return self.strategy.known_count and self.layout.known_counts

    @property
    def divides_loss(self) -> bool:
        """Whether the loss is divided by the keep ratio."""
        return self.scale_loss and self.strategy.scales_loss

    @cached_property
    def tokens(self) -> int:
        """Sum of the lengths of all samples; 0 without any."""
        return 0 if self.lengths is None else int(self.lengths.sum(dtype=np.int64))

    @cached_property
    def keep_ratios(self) -> Floats:
        """Nominal keep ratio of each epoch, shape (epochs,)."""
        return keep_ratios(self.schedule, self.epochs)

    @cached_property
    def kept_counts(self) -> NDArray[np.int64]:
        """Samples each epoch keeps by the schedule, shape (epochs,)."""
        total, multiple = self.layout.selector.total, self.multiple_of
        return keep_counts(total, self.keep_ratios, multiple_of=multiple)

    def describe(self) -> State:
        """Return the configuration as plain values, for states and comparisons."""
        classes = None if self.labels is None else self.labels.astype("<i8")
        lengths = None if self.lengths is None else self.lengths.astype("<i4")
        return {
            "n": self.n,
            "epochs": self.epochs,
            **kind_fields("schedule", self.schedule),
            **kind_fields("strategy", self.strategy),
            "signal": self.signal,
            **kind_fields("reduction", self.reduction),
            "seed": str(self.seed),
            "multiple_of": self.multiple_of,
            "scale_loss": self.scale_loss,
            "labels": -1 if classes is None else zlib.crc32(classes.tobytes()),
            "lengths": -1 if lengths is None else zlib.crc32(lengths.tobytes()),
            **self.layout.describe(),
        }


def max_visited(run: RunConfig, ratios: Floats) -> NDArray[np.int64]:
    """Return how many samples a process trains on at each ratio, at most."""
    # Over shards a process trains as long as the one that keeps most.
    longest = run.layout.max_size
    if not run.strategy.known_count:
        return np.full(ratios.size, longest)
    kept = keep_counts(run.layout.counted, ratios, multiple_of=run.multiple_of)
    return np.minimum(kept, longest)


def steps_of(
    run: RunConfig,
    visited: NDArray[np.int64],
    batch_size: int,
    *,
    first: int = 0,
    **options: Unpack[StepOptions],
) -> int:
    """Count the steps of epochs; refuse one without any from the epoch `first` on."""
    if not run.layout.shares_order:
        options["world_size"] = 1
    steps = [steps_for(count, batch_size, **options) for count in visited.tolist()]
    if 0 in steps[first:] and run.known_count:
        epoch = first + int(visited[first:].argmin())
        share = -(-int(visited[epoch]) // options.get("world_size", 1))
        msg = (
            f"`batch_size` must be at most {share} with `drop_last`, the samples "
            f"of a process in epoch {epoch}, which has no whole batch, got "
            f"{batch_size}; keep more with `multiple_of`, or drop none"
        )
        raise ValueError(msg)
    return sum(steps)


def single_sample_warning(
    run: RunConfig,
    visited: NDArray[np.int64],
    batch_size: int,
    *,
    first: int = 0,
    then: str = "which `BatchNorm1d` refuses: give the run `multiple_of={}`, or the "
    "loader `drop_last=True`",
    **options: Unpack[StepOptions],
) -> str:
    """Return what to say of pruned epochs with a last batch of one sample, or ""."""
    if options.get("drop_last") or batch_size == 1:
        return ""
    # Plain integers: they may be larger than those of an array.
    processes = int(options.get("world_size", 1)) if run.layout.shares_order else 1
    epochs = [
        epoch
        for epoch, count in enumerate(visited.tolist())
        if epoch >= first
        and count < run.layout.max_size
        and -(-count // processes) % int(batch_size) == 1
    ]
    if not epochs:
        return ""
    shown = ", ".join(map(str, epochs[:5])) + (", ..." if epochs[5:] else "")
    return (
        f"`batch_size` of {batch_size} leaves a last batch of one sample in "
        f"{len(epochs)} of {visited.size} epochs ({shown}), "
        f"{then.format(batch_size * processes)}"
    )


def rounding_warning(run: RunConfig) -> str:
    """Return what to say where rounding the counts up takes most of the savings."""
    if run.multiple_of == 1 or not run.known_count:
        return ""
    full = run.layout.selector.total * run.epochs
    meant, saved = 1 - run.keep_ratios.mean(), 1 - run.kept_counts.sum() / full
    if saved >= meant / 2:
        return ""
    return (
        f"`multiple_of`={run.multiple_of} should be small beside the {run.n} samples: "
        f"rounded up to it, the epochs save {saved:.1%} of them for {meant:.1%} by the "
        "schedule, by whose keep ratio the loss is divided all the same; take smaller "
        "batches"
    )


def check_known(run: RunConfig, name: str) -> None:
    """Refuse a table or a number that depends on the scores."""
    if not run.known_count:
        over = "" if run.layout.known_counts else " over shards"
        msg = (
            f"`{name}` needs a strategy with a known count, got "
            f"{run.strategy!r}{over}; `pruner.max_total_steps` gives the bound"
        )
        raise ValueError(msg)


def table_of(
    run: RunConfig, ratios: Floats, kept: NDArray[np.int64]
) -> NDArray[np.void]:
    """Return the schedule table of epochs with these ratios and counts."""
    columns = {
        "epoch": np.arange(ratios.size, dtype=np.int64),
        "keep_ratio": ratios,
        "kept": kept,
        "keep_fraction": kept / run.n,
        "loss_scale": 1 / ratios if run.divides_loss else np.ones_like(ratios),
    }
    table = np.empty(ratios.size, [(name, row.dtype) for name, row in columns.items()])
    for name, row in columns.items():
        table[name] = row
    return table


def check_options(
    options: Mapping[str, object], taker: Callable[..., Any] | None = None
) -> None:
    """Refuse a name that is no option of a run, nor a keyword of what takes them."""
    own = () if taker is None else inspect.signature(taker).parameters.values()
    known = [one.name for one in own if one.kind is one.KEYWORD_ONLY]
    known += [name for name in RunOptions.__annotations__ if name not in known]
    for name in sorted(options.keys() - known):
        close = difflib.get_close_matches(name, known, 1)
        then = f", did you mean `{close[0]}`? The" if close else "; the"
        msg = f"`{name}` is no option{then} options are {', '.join(known)}"
        raise TypeError(msg)


def make_config(n: int, epochs: int, **options: Unpack[RunOptions]) -> RunConfig:
    """Return the configuration with TED's defaults filled in, checked."""
    check_options(options)
    signal, strategy = resolve_method(options)
    reduction = options.get("reduction")
    if reduction is None:
        own = SIGNALS.get(str(signal), Polyak)
        reduction = getattr(strategy, "reduction", None) or own()
    return RunConfig(
        n=n,
        epochs=epochs,
        schedule=resolve_schedule(options),
        strategy=strategy,
        signal=signal,
        reduction=reduction,
        seed=options.get("seed", 0),
        multiple_of=options.get("multiple_of", 1),
        scale_loss=options.get("scale_loss", True),
        labels=_integers("labels", options.get("labels"), n),
        lengths=check_lengths(options.get("lengths"), n),
        shard=options.get("shard"),
    )


def resolve_schedule(options: RunOptions) -> Schedule:
    """Return the schedule, or the roller coaster of the prune ratio."""
    prune_ratio, schedule = options.get("prune_ratio"), options.get("schedule")
    if schedule is None:
        return RollerCoaster(0.7 if prune_ratio is None else prune_ratio)
    if prune_ratio is not None:
        msg = (
            f"`prune_ratio` must not be given beside `schedule`, got {prune_ratio!r} "
            f"and {schedule!r}; give it to the schedule"
        )
        raise ValueError(msg)
    return schedule


def resolve_method(options: RunOptions) -> tuple[str, Strategy]:
    """Return the signal and the strategy, those of the method where none is given."""
    method = options.get("method")
    signal, strategy = options.get("signal"), options.get("strategy")
    for name, value in (("strategy", strategy), ("signal", signal)):
        if method is not None and value is not None:
            msg = (
                f"`{name}` must not be given beside `method`, which names both signal "
                f"and strategy, got {value!r} and {method!r}"
            )
            raise ValueError(msg)
    method = "ted" if method is None else method
    if not isinstance(method, str) or method not in METHODS:
        msg = f"`method` must be one of {', '.join(METHODS)}, got {method!r}"
        raise ValueError(msg)
    defaults = METHODS[method]
    return (
        defaults[0] if signal is None else signal,
        defaults[1] if strategy is None else strategy,
    )


def method_name(signal: str, strategy: Strategy) -> str:
    """Return the value of ``method=`` for signal and strategy, or else both of them."""
    for name, known in METHODS.items():
        # A strategy that uses no scores selects alike whatever is observed.
        if known == (signal if strategy.uses_scores else known[0], strategy):
            return name
    return f"{strategy!r} of {signal}"


def _check_reduction(signal: str, strategy: Strategy, reduction: Reduction) -> None:
    """Refuse a reduction that its signal or its strategy gives no meaning."""
    needed = strategy.reduction
    forgetting, counts = signal == "forgetting", isinstance(reduction, Count)
    if forgetting and needed is not None and not isinstance(needed, Count):
        msg = (
            f"`signal` must not be 'forgetting' for {strategy!r}, which needs "
            f"{needed!r}: its values say correct or wrong and only Count() ranks them"
        )
    elif needed is not None and needed != reduction:
        msg = f"`reduction` must be {needed!r} for {strategy!r}, got {reduction!r}"
    elif forgetting and not counts:
        msg = (
            "`reduction` must be Count() for the signal 'forgetting', whose values say "
            f"correct or wrong, got {reduction!r}"
        )
    elif counts and not forgetting:
        msg = (
            "`reduction` must not be Count(), which counts the values of 'forgetting', "
            f"for the signal {signal!r}, got {reduction!r}"
        )
    else:
        return
    raise ValueError(msg)


def check_lengths(lengths: ArrayLike | None, n: int) -> NDArray[np.int32] | None:
    """Return the length of each sample, or refuse what is none."""
    array = _integers("lengths", lengths, n)
    if array is None:
        return None
    wrong = np.flatnonzero((array < 0) | (array > np.iinfo(np.int32).max))
    if wrong.size:
        msg = f"`lengths` must be in [0, 2^31), got {array[wrong[0]]} at {wrong[0]}"
        raise ValueError(msg)
    return array.astype(np.int32)


def _integers(name: str, value: ArrayLike | None, n: int) -> NDArray[Any] | None:
    """Return a copy of one integer for each sample, if they are given."""
    if value is None:
        return None
    array, n = as_array(name, value), check_samples(n)
    if array.shape != (n,) or array.dtype.kind not in "iu":
        msg = (
            f"`{name}` must hold integers of shape ({n},), got {array.dtype} of shape "
            f"{array.shape}"
        )
        raise ValueError(msg)
    return array.copy()
