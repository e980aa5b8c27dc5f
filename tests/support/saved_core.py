"""The runs of the core's pruner whose saved states are fixtures."""

from __future__ import annotations

import numpy as np
from saved_runs import EPOCHS, FOLDER, N, go_on, to_stop
from simulated_ranks import Group, pruners

import ted_core as ted

__all__ = ["SIZES", "made", "on_all", "path", "resumed", "written"]

SIZES = (24, 16)


def made(kind, *, epochs=EPOCHS):
    """Give a fresh pruner of a kind."""
    options = dict(kind.options)
    if kind.recorded:
        state = ted.load_state(FOLDER / kind.recorded)
        options["strategy"] = ted.Static.from_state(state)
    return ted.Pruner(N, epochs=epochs, **options)


def path(name, rank=None):
    """Give the file of a kind's state."""
    rank = "" if rank is None else f".{rank}"
    return FOLDER / f"{name}{rank}.npz"


def written(name, kind):
    """Write the state of a run that stops; give what it does if it goes on."""
    pruner = to_stop(kind, made(kind))
    ted.save_state(path(name), pruner.state_dict())
    return go_on(kind, pruner)


def resumed(name, kind):
    """Give what a run does that goes on from its file."""
    pruner = made(kind, epochs=EPOCHS + kind.longer)
    state, allow = ted.load_state(path(name)), ("epochs",) if kind.longer else ()
    pruner.load_state_dict(state, allow=allow)
    record = go_on(kind, pruner)
    if not kind.seen or kind.early:
        ranking = ted.Static.from_state(state).scores
        record["loaded"]["ranking"] = [
            None if np.isinf(x) else float(str(x)) for x in ranking
        ]
    return record


def on_all(name, kind, *, write=False):
    """Give what both ranks do, each from its file, or write the files."""
    group = Group(len(SIZES))
    make = pruners(group, SIZES, epochs=EPOCHS, **kind.options)

    def run(rank, all_sum):
        pruner, first = make(rank, all_sum, **kind.more), sum(SIZES[:rank])
        if write:
            to_stop(kind, pruner, first)
            ted.save_state(path(name, rank), pruner.state_dict())
        else:
            pruner.load_state_dict(ted.load_state(path(name, rank)))
        return go_on(kind, pruner, first)

    return group.run(run)
