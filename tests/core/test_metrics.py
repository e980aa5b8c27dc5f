"""What a logger is told of a run."""

from __future__ import annotations

from contextlib import nullcontext

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import ted_core as ted


@given(epochs=st.integers(5, 9), n=st.integers(2, 40), stop=st.integers(0, 9))
def test_the_keep_ratio_is_the_plans_and_the_savings_are_counted(epochs, n, stop):
    pruner = ted.Pruner(n, epochs=epochs, prune_ratio=0.6)
    forwarded = 0
    for _ in range(min(stop, epochs)):
        order = pruner.plan().order
        assert ted.run_metrics(pruner)["ted/keep_ratio"] == order.size / n
        pruner.observe(order, np.arange(order.size))
        forwarded += order.size
        pruner.advance()
        # Of the epoch that has just closed, all of them.
        found = ted.run_metrics(pruner)
        assert found["ted/keep_ratio"] == order.size / n
        assert found["ted/samples_saved"] == pruner.savings().ratio
        assert not pruner.planned
    closed = min(stop, epochs)
    early = pytest.warns(ted.TedWarning, match=f"must have {epochs} epochs")
    with early if closed < epochs else nullcontext():
        pruner.finish()
    metrics = ted.run_metrics(pruner)
    saved = ted.save_ratio(n * closed, forwarded) if closed else 0
    assert metrics["ted/samples_saved"] == saved
    assert metrics["ted/keep_ratio"] == (order.size / n if closed else 0)


def test_a_count_that_only_the_scores_know_is_told_as_it_was():
    pruner = ted.Pruner(10, epochs=5, strategy=ted.InfoBatch(), signal="loss")
    for _ in range(5):
        order = pruner.plan().order
        pruner.observe(order, order)
        pruner.advance()
    last = pruner.report().planned[-1]
    assert ted.run_metrics(pruner)["ted/keep_ratio"] == last / 10


@given(epochs=st.lists(st.lists(st.booleans(), min_size=4, max_size=4), max_size=5))
def test_dropped_values_are_counted_when_their_epoch_closes(epochs):
    pruner = ted.Pruner(5, epochs=6, prune_ratio=0.5)
    dropped = 0
    for lost in epochs:
        values = np.where([*lost, False], np.inf, 1.0)
        pruner.observe(np.arange(5), values)
        assert ted.run_metrics(pruner)["ted/nonfinite_dropped"] == dropped
        pruner.advance()
        dropped += sum(lost)
    assert pruner.nonfinite_dropped == dropped == pruner.report().nonfinite.sum()
    assert ted.run_metrics(pruner)["ted/nonfinite_dropped"] == dropped
