"""The arms of a comparison: what each trains on, and for how many epochs."""

from __future__ import annotations

import itertools
import math
import zlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, cast

import numpy as np
from numpy.typing import NDArray

from ted_core._validation import MAX_EPOCHS, as_array, check_epochs, check_real
from ted_core.checkpoint import kind_fields
from ted_core.config import (
    METHODS,
    RunConfig,
    RunOptions,
    resolve_method,
    resolve_schedule,
)
from ted_core.schedules import Schedule, keep_count, keep_ratios
from ted_core.strategies import Random
from ted_core.typing import Floats

FULL, PRUNED_RATE, RANDOM = CONTROLS = ("full", "full, pruned rate", "random")
"""All data, all data with the pruned run's rates, and a random selection."""

_MIN_EPOCHS = 2  # of any session
_RESERVED = ("seed", "lr", "epochs")  # arguments of `train` that are no options


@dataclass(frozen=True, eq=False)
class Arm:
    """One kind of training at one budget."""

    label: str
    budget: float
    epochs: int
    options: Mapping[str, Any]
    ratios: Floats  # nominal keep ratio of each epoch
    known_count: bool = True  # else the ratios bound nothing

    def __str__(self) -> str:
        """Tell the arm and its budget."""
        return f"{self.label!r} at {100 * self.budget:.4g} %"

    def check_plan(self, planned: NDArray[np.int64], n: int, where: str) -> None:
        """Refuse the plans of a session that got other options than this arm's."""
        remedy = "hand `epochs` and all `options` on to the session"
        if planned.size != self.epochs:
            msg = (
                f"`train` must run the {self.epochs} `epochs` that it gets, got a "
                f"session of {planned.size} closed ones in {where}; {remedy}, train "
                "them all, and close the last with `finish()`"
            )
            raise ValueError(msg)
        expected = np.array([keep_count(n, float(ratio)) for ratio in self.ratios])
        if not self.known_count:
            fits = planned.max() <= n and planned.sum() < n * planned.size
        else:
            # A session may round counts up to a multiple of its batch, which divides
            # all counts below n; their divisor rounds every count to the same.
            step = int(np.gcd.reduce(planned[planned < n])) or 1
            fits = bool((planned == np.minimum(n, -(-expected // step) * step)).all())
        if not fits:
            msg = (
                f"`train` must train on as many samples as its `options` plan, about "
                f"{expected.sum()} of {n * self.epochs}, got a session that planned "
                f"{planned.sum()} in {where}; {remedy}"
            )
            raise ValueError(msg)

    def check_method(self, config: RunConfig, where: str) -> None:
        """Refuse a session that selects by another method than this arm's."""
        signal, strategy = resolve_method(_known(self.options))
        if self.label != FULL and (config.signal, config.strategy) != (
            signal,
            strategy,
        ):
            msg = (
                f"`train` must prune by the `options` that it gets, {strategy!r} of "
                f"{signal!r}, got a session with {config.strategy!r} of "
                f"{config.signal!r} in {where}; hand all `options` on to it"
            )
            raise ValueError(msg)


def make_arms(
    epochs: object,
    *,
    prune_ratio: float | None,
    schedule: Schedule | None,
    methods: Sequence[str] | Mapping[str, Mapping[str, Any]],
    budgets: Sequence[float],
) -> tuple[Arm, ...]:
    """Return all arms: by budget, the shorter first, and the controls before others."""
    total = check_epochs(epochs)
    shared = (
        {"prune_ratio": prune_ratio} if schedule is None else {"schedule": schedule}
    )
    resolve_schedule({"prune_ratio": prune_ratio, "schedule": schedule})
    pruned: dict[str, dict[str, Any]] = {
        PRUNED_RATE: {**shared, "strategy": Random(balanced=True)},
        RANDOM: {**shared, "method": "random"},
    }
    for label, own in _named(methods).items():
        schedules = shared.keys() | {"schedule", "prune_ratio"}
        pruned[label] = {**({} if schedules & own.keys() else shared), **own}
    # The scores of full training would only cost.
    full = {"prune_ratio": 0.0, "method": "random"}
    arms = []
    for budget, count in _epochs_of(budgets, total).items():
        arms.append(Arm(FULL, budget, count, full, np.ones(count)))
        if budget in budgets:
            arms += [_pruned(name, own, budget, count) for name, own in pruned.items()]
    return tuple(arms)


def _epochs_of(budgets: object, epochs: int) -> dict[float, int]:
    """Return the epochs of full training by budget, ascending; all of it is one."""
    shares = [
        check_real("budgets", budget, low=0, high=1, closed="right")
        for budget in as_list("budgets", budgets)
    ]
    if not shares:
        msg = "`budgets` must hold a share in (0, 1], got none"
        raise ValueError(msg)
    found: dict[float, int] = {}
    for share in [*shares, *([] if 1 in shares else [1.0])]:
        count = math.floor(share * epochs + 0.5)
        if count < _MIN_EPOCHS:
            msg = (
                f"`budgets` must leave {_MIN_EPOCHS} epochs or more, got {share:g}, "
                f"which is {count} of {epochs}; give {_MIN_EPOCHS / epochs:.3g} or more"
            )
            raise ValueError(msg)
        other = next((b for b, e in found.items() if e == count), None)
        if other is not None:
            msg = (
                f"`budgets` must differ, got {other:g} and {share:g}, which are both "
                f"{count} of {epochs} epochs; leave one of them out"
            )
            raise ValueError(msg)
        found[share] = count
    return dict(sorted(found.items()))


def as_list(name: str, values: object) -> list[Any]:
    """Return what is a sequence of numbers as a list."""
    several = isinstance(values, Sequence | np.ndarray) and not isinstance(values, str)
    if not several or getattr(values, "ndim", 1) == 0:
        msg = f"`{name}` must be a sequence of numbers, got {values!r}"
        raise TypeError(msg)
    return list(cast("Sequence[Any]", values))


def _named(methods: object) -> dict[str, dict[str, Any]]:
    """Return the options of the methods by label."""
    if isinstance(methods, Mapping):
        found = dict(methods)
    elif isinstance(methods, Sequence) and not isinstance(methods, str):
        found = {}
        for name in methods:
            if not isinstance(name, str) or name not in METHODS:
                msg = (
                    f"`methods` must be of {', '.join(METHODS)}, or options by label, "
                    f"got {name!r}"
                )
                raise ValueError(msg)
            if name in found:
                msg = f"`methods` must differ, got {name!r} twice"
                raise ValueError(msg)
            found[name] = {"method": name}
    else:
        msg = f"`methods` must be names, or options by label, got {methods!r}"
        raise TypeError(msg)
    if not found:
        msg = "`methods` must hold a method to compare, got none"
        raise ValueError(msg)
    for label, options in found.items():
        _check_method(label, options)
    return found


def _check_method(label: object, options: object) -> None:
    """Refuse a method that can't be an arm."""
    if not isinstance(label, str) or not label or label in CONTROLS:
        msg = (
            f"`methods` must have labels other than those of the controls, "
            f"{', '.join(CONTROLS)}, which are always run, got {label!r}"
        )
        raise ValueError(msg)
    if not isinstance(options, Mapping):
        msg = f"`methods[{label!r}]` must be options of the session, got {options!r}"
        raise TypeError(msg)
    for name in options:
        if not isinstance(name, str) or name in _RESERVED:
            msg = (
                f"`methods[{label!r}]` must hold options of the session, got {name!r}, "
                "which `train` gets by itself"
            )
            raise ValueError(msg)


def _pruned(label: str, options: dict[str, Any], budget: float, count: int) -> Arm:
    """Return the arm whose planned samples are nearest to `count` full epochs."""
    try:
        _, strategy = resolve_method(_known(options))
        schedule = resolve_schedule(_known(options))
    except (TypeError, ValueError) as error:
        msg = f"`methods[{label!r}]` must be options of a session: {error}"
        raise type(error)(msg) from None
    if not strategy.known_count:
        # As many epochs as would be within the budget if nothing were pruned.
        return Arm(label, budget, count, options, np.ones(count), known_count=False)
    best, least = np.ones(count), math.inf
    for epochs in itertools.count(count):
        ratios = keep_ratios(schedule, epochs)
        over = ratios.sum() - count
        if abs(over) < least:
            best, least = ratios, abs(over)
        if over >= 1 or epochs > min(MAX_EPOCHS, 1000 * count):
            break
    if (best == 1).all():
        name = "prune_ratio" if label in CONTROLS else f"methods[{label!r}]"
        msg = (
            f"`{name}` must prune, got {schedule!r}, which keeps all samples in each "
            f"of {best.size} epochs at a budget of {budget:g}; raise one of the two"
        )
        raise ValueError(msg)
    return Arm(label, budget, best.size, options, best)


def _known(options: Mapping[str, Any]) -> RunOptions:
    """Return the options of the core, without those that an adapter adds."""
    names = RunOptions.__annotations__
    found: Any = {name: value for name, value in options.items() if name in names}
    return cast("RunOptions", found)


def describe(value: object) -> Any:
    """Return an option as JSON can hold it, the same in every process."""
    if value is None or isinstance(value, str | bool | int | float):
        return value
    if isinstance(value, Mapping):
        return {str(name): describe(each) for name, each in value.items()}
    if isinstance(value, list | tuple):
        return [describe(each) for each in value]
    if hasattr(value, "shape") or hasattr(value, "__array__"):
        array = as_array("options", value)
        if array.ndim == 0:
            return array.item()
        checksum = zlib.crc32(np.ascontiguousarray(array).tobytes())
        return f"{array.dtype} of shape {array.shape}, CRC-32 {checksum}"
    fields = kind_fields("is", value)
    text = str(fields["is"]) if "is" in fields else ""
    return type(value).__qualname__ if " at 0x" in text else text or fields
