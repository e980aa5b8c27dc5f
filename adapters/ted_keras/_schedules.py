"""Where the learning-rate schedules of Keras end, held against a run."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from keras.optimizers import schedules


def schedule_problem(schedule: Any, steps: int) -> str | None:
    """Return what a schedule must do in a run of so many steps and doesn't, or None."""
    kind = type(schedule)  # a subclass may go on as it likes
    if kind in _ENDS:
        end, remedy = _ENDS[kind](schedule, steps)
        if end is None or end == steps:
            return None
        return f"end with the run after {steps} steps, got {end}; give {remedy}"
    if kind in _CHANGES:
        word, at = _CHANGES[kind](schedule)
        if at > steps:
            return (
                f"change for the {word} time within the run's {steps} steps, got {at}; "
                "give shares of ted.total_steps"
            )
    return None


def _decay(schedule: Any, steps: int) -> tuple[int | None, str]:
    del steps
    remedy = "decay_steps=ted.total_steps"
    if getattr(schedule, "cycle", False):
        return None, remedy
    # Without a target there is no warm-up.
    warmed = getattr(schedule, "warmup_target", None) is not None
    warmup = schedule.warmup_steps if warmed else 0
    if warmup:
        remedy += f" - {warmup}, after as many of warm-up"
    return schedule.decay_steps + warmup, remedy


def _restarts(schedule: Any, steps: int) -> tuple[int, str]:
    """Return the end of the cycle in which the run ends."""
    factor = schedule.get_config()["t_mul"]
    end = length = schedule.first_decay_steps
    while end < steps and length >= 1:
        length *= factor
        end += length
    return round(end), "cycles that end with ted.total_steps"


_ENDS: dict[type, Callable[[Any, int], tuple[int | None, str]]] = {
    schedules.CosineDecay: _decay,
    schedules.PolynomialDecay: _decay,
    schedules.CosineDecayRestarts: _restarts,
}
# Their `decay_steps` are no end, but a run of fewer is not meant.
_CHANGES: dict[type, Callable[[Any], tuple[str, int]]] = {
    schedules.ExponentialDecay: lambda one: ("first", one.decay_steps),
    schedules.InverseTimeDecay: lambda one: ("first", one.decay_steps),
    schedules.PiecewiseConstantDecay: lambda one: ("last", max(one.boundaries)),
}
