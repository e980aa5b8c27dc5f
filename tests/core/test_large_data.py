"""What a selection runs does not grow with the number of samples."""

from __future__ import annotations

import gc
import sys

import numpy as np
import pytest

import ted_core as ted


def lines_run(call):
    """Count the lines of Python that a call runs."""
    count = 0

    def trace(_frame, event, _argument):
        nonlocal count
        count += event == "line"
        return trace

    before = sys.gettrace()
    gc.disable()  # what others left to be finalised is none of the call's lines
    sys.settrace(trace)
    try:
        call()
    finally:
        sys.settrace(before)
        gc.enable()
    return count


def lines_of_an_epoch(make, n):
    pruner = ted.Pruner(
        n,
        epochs=6,
        schedule=ted.Constant(0.5, anneal=0),
        strategy=make(n),
        labels=np.arange(n) % 5,
    )
    order = pruner.plan().order
    pruner.observe(order, np.sin(order) + 1)

    def epoch():
        pruner.advance()
        pruner.plan()

    return lines_run(epoch)


@pytest.mark.parametrize(
    "make",
    [
        lambda _: ted.TopScore(),
        lambda _: ted.TopScore(class_floor=0.1),
        lambda _: ted.SoftTop(),
        lambda _: ted.Random(),
        lambda _: ted.EpsilonGreedy(epsilon=0.3),
        lambda _: ted.UCB(),
        lambda _: ted.InfoBatch(),
        lambda _: ted.Importance(),
        lambda _: ted.Random(balanced=True),
        lambda n: ted.Static(np.cos(np.arange(n))),
    ],
    ids=[
        "top",
        "floors",
        "soft",
        "random",
        "greedy",
        "ucb",
        "infobatch",
        "importance",
        "balanced",
        "static",
    ],
)
def test_no_strategy_loops_over_the_samples(make):
    few, many = (lines_of_an_epoch(make, n) for n in (1000, 50_000))
    assert few > 20
    assert many <= few + 5


def test_the_counter_sees_a_loop():
    def loop(n):
        for _ in range(n):
            pass

    few, many = (lines_run(lambda n=n: loop(n)) for n in (10, 1000))
    assert many - few == 2 * 990
