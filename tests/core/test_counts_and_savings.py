from __future__ import annotations

import math
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from oracles.algorithm1 import r

import ted_core as ted


@pytest.mark.parametrize(
    ("n", "ratio", "multiple", "count"),
    [
        (1, 1e-9, 1, 1),
        (10, 0.25, 1, 3),
        (10, 0.15, 1, 2),
        (10, 0.3, 4, 4),
        (10, 0.9, 4, 10),
        (3, 0.5, 128, 3),
        (1000, 1.0, 7, 1000),
    ],
)
def test_counts_round_half_up_then_up_to_the_multiple(n, ratio, multiple, count):
    assert ted.keep_count(n, ratio, multiple_of=multiple) == count


@given(st.integers(1, 10**6), st.floats(0, 1, exclude_min=True), st.floats(0, 1))
def test_a_larger_ratio_never_keeps_fewer(n, high, share):
    low = max(high * share, 5e-324)
    assert 1 <= ted.keep_count(n, low) <= ted.keep_count(n, high) <= n


@given(st.integers(1, 2**52), st.floats(0, 1, exclude_min=True))
def test_a_count_is_within_half_a_sample_of_the_ratio_or_the_one_that_stays(n, ratio):
    exact = Fraction(ratio) * n
    count = ted.keep_count(n, ratio)
    slack = Fraction(1, 2) + Fraction(math.ulp(float(exact) + 0.5))
    assert abs(count - exact) <= slack or (count == 1 and exact < 1)


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        ((0, 0.5), ValueError, "`n` must be at least 1, got 0; an empty data set"),
        ((1.5, 0.5), TypeError, "`n` must be an integer, got 1.5"),
        ((True, 0.5), TypeError, "`n` must be an integer, got True"),
        ((9, 0.0), ValueError, r"`keep_ratio` must be in \(0, 1\], got 0.0"),
        ((9, 1.01), ValueError, r"`keep_ratio` must be in \(0, 1\], got 1.01"),
        ((9, math.nan), ValueError, r"`keep_ratio` must be in \(0, 1\], got nan"),
        ((9, "1"), TypeError, "`keep_ratio` must be a real number, got '1'"),
    ],
)
def test_bad_counts_are_refused_by_name(arguments, error, message):
    with pytest.raises(error, match=message):
        ted.keep_count(*arguments)


@pytest.mark.parametrize("multiple", [0, -1])
def test_a_multiple_below_one_is_refused(multiple):
    message = f"`multiple_of` must be at least 1, got {multiple}"
    with pytest.raises(ValueError, match=message):
        ted.keep_count(9, 0.5, multiple_of=multiple)


@pytest.mark.parametrize(
    ("name", "value"),
    [("count", -1), ("batch_size", 0), ("accumulation", 0), ("world_size", 0)],
)
def test_bad_step_arguments_are_refused_by_name(name, value):
    arguments = {"count": 8, "batch_size": 4, name: value}
    with pytest.raises(ValueError, match=f"`{name}` must be at least .*, got {value}"):
        ted.steps_for(**arguments)


def test_an_epoch_of_no_samples_takes_no_step():
    assert ted.steps_for(0, 8) == ted.steps_for(0, 8, world_size=3) == 0
    assert ted.steps_for(7, 8, drop_last=True) == 0


@settings(deadline=None)
@given(
    st.floats(0, 0.99),
    st.floats(0.1, 1),
    st.floats(0, 0.5),
    st.integers(5, 60),
    st.integers(1, 500),
)
def test_the_planned_saving_is_equation_24_over_the_letters_of_algorithm_1(
    s, beta, gamma, epochs, n
):
    tail = math.floor(gamma * epochs + 0.5)
    ratios = [r(t, epochs, s, beta) for t in range(epochs - tail)] + [1.0] * tail
    schedule = ted.RollerCoaster(s, beta=beta, anneal=gamma)
    nominal = ted.planned_save_ratio(schedule, epochs)
    assert nominal == pytest.approx(1 - sum(ratios) / epochs, abs=1e-12)
    counted = ted.planned_save_ratio(schedule, epochs, n=n)
    kept = [ted.keep_count(n, float(x)) for x in ted.keep_ratios(schedule, epochs)]
    assert counted == (n * epochs - sum(kept)) / (n * epochs)
    assert abs(counted - nominal) <= 1 / n


@pytest.mark.parametrize(
    ("beta", "anneal", "percent"),
    [(0.2, 0, 62.5), (0.3, 0, 59.1), (0.2, 0.125, 53.8), (0.3, 0.125, 50.5)],
)
def test_the_save_ratios_at_70_percent_over_200_epochs_are_the_known_ones(
    beta, anneal, percent
):
    schedule = ted.RollerCoaster(0.7, beta=beta, anneal=anneal)
    assert abs(100 * ted.planned_save_ratio(schedule, 200) - percent) < 0.1


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        ((0, 0), ValueError, "`total_forward` must be at least 1, got 0"),
        ((1, -1), ValueError, "`real_forward` must be at least 0, got -1"),
        ((1.5, 1), TypeError, "`total_forward` must be an integer, got 1.5"),
    ],
)
def test_a_senseless_save_ratio_is_refused_by_name(arguments, error, message):
    with pytest.raises(error, match=message):
        ted.save_ratio(*arguments)


def test_before_the_first_epoch_closes_nothing_is_saved():
    savings = ted.Pruner(10, epochs=5).savings()
    assert (savings.full, savings.planned, savings.forwarded) == (0, 0, 0)
    assert savings.ratio == savings.planned_ratio == 0.0


def test_savings_count_each_planned_sample_once_and_an_epoch_as_far_as_it_went():
    pruner = ted.Pruner(10, epochs=5, schedule=ted.Constant(0.5, anneal=0))
    order = pruner.plan().order
    pruner.observe([*order[:4], order[0], order[0]], np.ones(6))  # one is missing
    pruner.advance()
    order = pruner.plan().order
    pruner.observe(order, np.ones(5), valid=[True, False, True, False, True])
    pruner.observe(order[:1], [np.nan])
    pruner.advance()
    savings = pruner.savings()
    assert (savings.full, savings.planned, savings.forwarded) == (18, 9, 9)
    assert (savings.ratio, savings.planned_ratio) == (0.5, 0.5)
    assert str(savings) == "50.0 % saved, 9 of 18 samples forwarded"
    assert pruner.report().forwarded.tolist() == [4, 5]
    assert pruner.report().repeated.tolist() == [2, 1]


def test_savings_print_their_ratios_and_their_repr_makes_them_again():
    savings = ted.Savings(100, 60, 50, tokens=ted.Savings(1000, 300, 250))
    said = "50.0 % saved, 50 of 100 samples forwarded; of the tokens 75.0 % saved, "
    assert str(savings) == said + "250 of 1000 forwarded"
    assert eval(repr(savings), {"Savings": ted.Savings}) == savings  # noqa: S307


def test_an_open_epoch_is_not_counted_yet():
    pruner = ted.Pruner(10, epochs=5)
    pruner.observe([0], [1.0])
    assert pruner.savings().full == 0
