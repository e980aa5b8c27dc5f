from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from oracles.algorithm1 import r

import ted_core as ted
from ted_core.schedules import anneal_epochs

CURVES = [ted.RollerCoaster, ted.Linear, ted.Cosine, ted.Constant]
share = st.floats(0, 0.999)


@given(share, st.floats(0.01, 5), st.integers(1, 300))
def test_the_roller_coaster_is_equation_21(s, beta, epochs):
    schedule = ted.RollerCoaster(s, beta=beta, anneal=0)
    expected = [r(t, epochs, s, beta) for t in range(epochs)]
    np.testing.assert_allclose(ted.keep_ratios(schedule, epochs), expected, rtol=1e-12)


@pytest.mark.parametrize(
    ("beta", "anneal", "saved"),
    [(0.2, 0, 62.5), (0.3, 0, 59.15), (0.2, 0.125, 53.8), (0.3, 0.125, 50.5)],
)
def test_the_planned_save_ratios_are_the_known_ones(beta, anneal, saved):
    schedule = ted.RollerCoaster(0.7, beta=beta, anneal=anneal)
    assert round(100 * ted.planned_save_ratio(schedule, 200), 1) == pytest.approx(
        saved, abs=0.051
    )


@pytest.mark.parametrize("curve", CURVES)
@given(s=share, epochs=st.integers(1, 100), anneal=share, warmup=st.integers(0, 5))
def test_every_curve_falls_from_the_start_and_ends_in_a_full_tail(
    curve, s, epochs, anneal, warmup
):
    schedule = curve(s, anneal=anneal, warmup=warmup)
    ratios = ted.keep_ratios(schedule, epochs)
    tail = anneal_epochs(schedule, epochs)
    assert tail == min(epochs, math.floor(anneal * epochs + 0.5))
    assert np.all(ratios[epochs - tail :] == 1)
    assert np.all(ratios[:warmup] == 1)
    body = ratios[: epochs - tail]
    assert np.all(np.diff(body) <= 1e-12)
    assert np.all(body >= 1 - s - 1e-12)


@pytest.mark.parametrize("curve", CURVES)
def test_every_curve_ends_at_one_minus_s_and_keeps_the_shape(curve):
    assert curve(0.7)(1.0) == pytest.approx(0.3)
    assert curve(0.7)(np.zeros((2, 3))).shape == (2, 3)


def test_the_horizon_of_the_pruning_epochs_reaches_further_down():
    full, pruning = (
        ted.keep_ratios(ted.Linear(0.8, anneal=0.5, horizon=horizon), 10)
        for horizon in ("all", "pruning")
    )
    np.testing.assert_allclose(full[4], 1 - 0.8 * 4 / 10)
    np.testing.assert_allclose(pruning[4], 1 - 0.8 * 4 / 5)


def test_equal_schedules_are_equal_hashable_and_tell_their_parameters():
    assert ted.RollerCoaster(0.5) == ted.RollerCoaster(0.5)
    assert len({ted.Linear(0.5), ted.Linear(0.5)}) == 1
    assert "beta=0.25" in repr(ted.RollerCoaster(0.5))


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        ({"prune_ratio": 1}, ValueError, r"`prune_ratio` must be in \[0, 1\), got 1"),
        ({"prune_ratio": -0.1}, ValueError, r"`prune_ratio` must be in \[0, 1\)"),
        ({"prune_ratio": math.nan}, ValueError, r"`prune_ratio` .* got nan"),
        ({"prune_ratio": "0.7"}, TypeError, "`prune_ratio` must be a real number"),
        ({"prune_ratio": True}, TypeError, "`prune_ratio` must be a real number"),
        ({"beta": 0}, ValueError, r"`beta` must be in \(0, inf\), got 0"),
        ({"beta": math.inf}, ValueError, r"`beta` must be in \(0, inf\)"),
        ({"anneal": 1}, ValueError, r"`anneal` must be in \[0, 1\), got 1"),
        ({"warmup": -1}, ValueError, "`warmup` must be at least 0, got -1"),
        ({"warmup": 1.5}, TypeError, "`warmup` must be an integer, got 1.5"),
        ({"horizon": "some"}, ValueError, "`horizon` must be 'all' or 'pruning'"),
    ],
)
def test_bad_parameters_are_refused_by_name(arguments, error, message):
    with pytest.raises(error, match=message):
        ted.RollerCoaster(**arguments)


def test_progress_outside_the_run_is_refused():
    with pytest.raises(ValueError, match=r"`progress` must be in \[0, 1\]"):
        ted.Linear(0.5)(1.1)


def test_a_schedule_that_leaves_its_range_is_refused():
    class Broken(ted.Linear):
        def __call__(self, progress):
            return np.zeros_like(progress)

    with pytest.raises(ValueError, match=r"`schedule` must return keep ratios"):
        ted.keep_ratios(Broken(0.5), 10)


@given(st.floats(0, 1, exclude_min=True))
def test_the_loss_scale_is_equation_23(ratio):
    assert ted.loss_scale(ratio) == 1 / ratio


@given(st.integers(1, 10**12), st.integers(0, 10**12))
def test_the_save_ratio_is_equation_24(tfs, rfs):
    assert ted.save_ratio(tfs, rfs) == (tfs - rfs) / tfs
