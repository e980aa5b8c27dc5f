from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import ted_core as ted
from ted_core.analysis import forwarded_samples, prune_from


@st.composite
def windows(draw):
    """Give start, epochs and sessions of a window that fits."""
    epochs = draw(st.integers(1, 400))
    sessions = draw(st.integers(1, epochs))
    return draw(st.integers(0, epochs - sessions)), epochs, sessions


@settings(deadline=None)
@given(windows(), st.floats(0.01, 0.99))
def test_only_the_sessions_from_the_start_on_prune(window, ratio):
    start, epochs, sessions = window
    schedule = prune_from(start, epochs, sessions=sessions, prune_ratio=ratio)
    want = [1 - ratio if start <= t < start + sessions else 1 for t in range(epochs)]
    assert ted.keep_ratios(schedule, epochs).tolist() == want


@settings(deadline=None)
@given(windows(), st.integers(1, 300))
def test_when_it_prunes_does_not_change_how_much_it_forwards(window, n):
    start, epochs, sessions = window
    totals = {
        forwarded_samples(prune_from(t, epochs, sessions=sessions), epochs, n)[-1]
        for t in (0, start, epochs - sessions)
    }
    assert len(totals) == 1


@pytest.mark.parametrize(("epochs", "sessions"), [(1, 1), (9, 1), (40, 4), (180, 18)])
def test_a_tenth_of_the_epochs_prunes_if_nothing_is_said(epochs, sessions):
    ratios = ted.keep_ratios(prune_from(0, epochs), epochs)
    assert (ratios < 1).sum() == sessions


@settings(deadline=None)
@given(
    st.sampled_from([ted.RollerCoaster, ted.Linear, ted.Cosine, ted.Constant]),
    st.floats(0, 0.99),
    st.integers(1, 60),
    st.integers(1, 1000),
    st.integers(1, 40),
)
def test_the_last_total_is_the_planned_save_ratio(curve, ratio, epochs, n, multiple):
    schedule = curve(ratio)
    totals = forwarded_samples(schedule, epochs, n, multiple_of=multiple)
    assert totals.shape == (epochs,)
    saved = ted.save_ratio(n * epochs, int(totals[-1]))
    planned = ted.planned_save_ratio(schedule, epochs, n=n, multiple_of=multiple)
    assert saved == pytest.approx(planned)
    steps = np.diff(totals, prepend=0)
    assert ((steps >= 1) & (steps <= n)).all()


def test_it_counts_what_a_run_forwards():
    schedule, seen = ted.RollerCoaster(0.7), 0
    pruner = ted.Pruner(333, epochs=12, schedule=schedule, strategy=ted.Random())
    for total in forwarded_samples(schedule, 12, 333):
        seen += len(pruner.plan())
        assert seen == total
        pruner.advance()


def test_the_papers_curve_written_out():
    n, epochs, s, beta = 1000, 8, 0.7, 0.25
    schedule = ted.RollerCoaster(s, beta=beta, anneal=0)
    slow, total = [], 0
    for t in range(epochs):
        r_t = math.exp((t / epochs) ** beta * math.log(1 - s))
        total += math.floor(r_t * n + 0.5)
        slow.append(total)
    assert forwarded_samples(schedule, epochs, n).tolist() == slow


@pytest.mark.parametrize(
    ("call", "error", "words"),
    [
        (lambda: prune_from(0, 0), ValueError, "`epochs` must be at least 1, got 0"),
        (lambda: prune_from(0, 9.5), TypeError, "`epochs` must be an integer"),
        (lambda: prune_from(-1, 9), ValueError, r"`start` must be in \[0, 8\], got -1"),
        (lambda: prune_from(38, 40), ValueError, r"`start` must be in \[0, 36\]"),
        (lambda: prune_from(0, 5, sessions=6), ValueError, r"`sessions` must be in"),
        (lambda: prune_from(0, 5, prune_ratio=1), ValueError, "`prune_ratio` must be"),
        (lambda: forwarded_samples(ted.Linear(), 5, 0), ValueError, "`n` must be"),
        (lambda: forwarded_samples(ted.Linear(), 0, 5), ValueError, "`epochs` must"),
    ],
)
def test_bad_input_is_refused_by_name(call, error, words):
    with pytest.raises(error, match=words):
        call()
