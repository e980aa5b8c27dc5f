"""How many epochs a trainer's run is planned over, and where in the last it ends."""

from __future__ import annotations

import math
import warnings
from bisect import bisect_left
from collections.abc import Mapping
from typing import Any

from ted_core import TedWarning, steps_for
from ted_core._validation import MAX_EPOCHS
from ted_core.config import RunConfig, RunOptions, make_config, max_visited, steps_of
from ted_core.schedules import StepOptions


def planned_length(
    args: Any, n: int, batch_size: int, steps: StepOptions, options: Mapping[str, Any]
) -> tuple[int, int | None]:
    """Return the epochs to plan, and the optimizer steps if the last one is cut."""
    # A run of `max_steps` is planned over the fewest epochs that have as many steps.
    if args.max_steps <= 0 and args.num_train_epochs == int(args.num_train_epochs):
        return int(args.num_train_epochs), None

    known = RunOptions.__annotations__
    own: Any = {key: value for key, value in options.items() if key in known}

    def planned(epochs: int) -> RunConfig:
        with warnings.catch_warnings():  # the session will warn
            warnings.simplefilter("ignore", TedWarning)
            return make_config(n, epochs, **own)

    def count(epochs: int) -> int:
        run = planned(epochs)
        visited = max_visited(run, run.keep_ratios)
        return steps_of(run, visited, batch_size, **steps)

    name = "max_steps" if args.max_steps > 0 else "num_train_epochs"
    asked = getattr(args, name)
    shortest = planned(2)
    if not shortest.known_count:
        msg = (
            f"`{name}` must be a whole number of epochs, `num_train_epochs`, for a "
            f"strategy that finds its own counts, got {asked}"
        )
        raise ValueError(msg)
    if args.max_steps <= 0:
        epochs = math.ceil(asked)
        last = _last(planned(epochs), batch_size, steps)
        share = asked - (epochs - 1)
        return epochs, count(epochs) - last + math.ceil(share * last)
    # No epoch has more steps than one of all data.
    least = 2 if shortest.keep_ratios[0] == 1 else 1
    few = many = max(args.max_steps // steps_for(n, batch_size, **steps), least)
    while count(many) < args.max_steps:
        few, many = many, min(2 * many, MAX_EPOCHS)
    few += bisect_left(range(few, many), args.max_steps, key=count)
    total = count(few)
    begun = total - _last(planned(few), batch_size, steps)
    if args.max_steps <= begun:
        msg = (
            f"`max_steps` must end in the last epoch of a plan, got {asked}: {few} "
            f"epochs have {total} steps, and their last one begins after {begun}; give "
            f"from {begun + 1} to {total}, or `num_train_epochs`"
        )
        raise ValueError(msg)
    return few, args.max_steps


def _last(config: RunConfig, batch_size: int, steps: StepOptions) -> int:
    """Count the optimizer steps of the last epoch."""
    return steps_for(int(config.kept_counts[-1]), batch_size, **steps)
