"""Saved states, and what may have become of them."""

from __future__ import annotations

import numpy as np
from fuzzing import judge_load, junk
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

import ted_core as ted

__all__ = ["RUNS", "bits", "changed", "judge_state", "make", "part_way"]

RUNS = {
    "TED": {"signal": "mask_gradient", "strategy": ted.TopScore()},
    "debiased": {
        "signal": "loss",
        "strategy": ted.TopScore(),
        "reduction": ted.Polyak(start="debiased"),
    },
    "UCB": {"signal": "loss", "strategy": ted.UCB()},
    "forgetting": {"signal": "forgetting", "strategy": ted.TopScore()},
    "Random": {"signal": "loss", "strategy": ted.Random()},
    "balanced": {"signal": "loss", "strategy": ted.Random(balanced=True)},
}
"""Options of runs whose states differ in their fields."""
COUNTS, FULL = ("counts", "deliveries"), 255


def make(name):
    return ted.Pruner(12, epochs=6, seed=3, **RUNS[name])


def part_way(name, *, pending):
    """Give a run in its third epoch, with or without values of it."""
    run = make(name)
    for _ in range(2):
        order = run.plan().order
        run.observe(order, order % 2)
        run.advance()
    if pending:
        run.observe(run.plan().order[:3], [1, 0, 1])
    return run


@st.composite
def changed(draw, state):
    """Draw a state in which one to three fields are missing, new or other ones."""
    state = dict(state)
    for _ in range(draw(st.integers(1, 3))):
        name = draw(st.sampled_from(list(state)))
        how = draw(st.sampled_from(["junk", "drop", "add", "bits", "near"]))
        value = state[name]
        if how == "drop":
            del state[name]
        elif how == "add":
            state[draw(st.one_of(st.text(max_size=9), st.integers(), st.none()))] = 1
        elif how == "junk":
            state[name] = draw(junk())
        elif isinstance(value, np.ndarray) and value.dtype.kind in "iuf":
            elements = None if how == "bits" else st.sampled_from([0, 1, 2])
            state[name] = draw(hnp.arrays(value.dtype, value.shape, elements=elements))
        elif isinstance(value, int):
            state[name] = draw(st.integers(-2, 9))
    return state


def bits(state):
    return {
        name: (v.dtype.str, v.tobytes()) if isinstance(v, np.ndarray) else (type(v), v)
        for name, v in state.items()
    }


def judge_state(run, state):
    """Load; give "answer" if it went in whole, and the run goes on from there."""
    found = judge_load(run, state, bits)
    if found == "answer":
        # A sample whose count is full has had all that an epoch may bring of it.
        counts = [run.state_dict().get(f"open.{name}", 0) for name in COUNTS]
        if not run.finished and np.max(counts) < FULL:
            order = run.plan().order
            assert np.unique(order).size == order.size
            run.observe(order, np.zeros(order.size))
            try:
                run.advance()
            except ted.EpochError:
                # Sums that are not finite leave no value, as losses would.
                assert not np.isfinite(run.state_dict()["open.sums"]).all()
        assert run.savings().full >= 0
    return found
