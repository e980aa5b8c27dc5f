"""The draw in proportion to the score, and the weights that make up for it."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from oracles import rivals as oracle
from simulated_ranks import Group, pruners

import ted_core as ted

few = settings(max_examples=60, deadline=None)
SCORES = st.lists(
    st.one_of(
        st.none(),
        st.sampled_from([0.0, -0.0, 0.5, 3e38, 1e-40]),
        st.floats(0, 10, width=32),
    ),
    min_size=2,
    max_size=25,
)
SHARES = st.sampled_from([0.0, 0.2, 0.5, 1.0])
SEEDS = st.integers(0, 2**64 - 1)


def drawn(score, count, *, seed=0, epoch=1, **options):
    ranking = np.array([math.inf if s is None else s for s in score], np.float32)
    request = ted.Request(
        n=len(score),
        count=count,
        keep_ratio=count / len(score),
        epoch=epoch,
        seed=seed,
        ranking=ranking.copy,
    )
    return ted.Importance(**options).select(request)


@few
@given(SCORES, SHARES, SHARES, SEEDS, st.data())
def test_a_selection_and_its_weights_are_those_of_the_oracle(score, m, c, seed, data):
    k = data.draw(st.integers(1, len(score) - 1))
    exact = [None if s is None else float(np.float32(s)) for s in score]
    kept, weights = oracle.importance(exact, k, m, c, seed=seed, epoch=1)
    found = drawn(score, k, seed=seed, mix=m, correction=c)
    assert found.kept.tolist() == kept
    np.testing.assert_allclose(found.weights, weights, rtol=1e-5)


@few
@given(SCORES, st.floats(0, 1), st.floats(0, 1), SEEDS, st.data())
def test_k_distinct_samples_are_drawn_those_never_seen_first(score, m, c, seed, data):
    k = data.draw(st.integers(1, len(score) - 1))
    found = drawn(score, k, seed=seed, mix=m, correction=c)
    kept = found.kept.tolist()
    assert kept == sorted(set(kept))
    assert len(kept) == k
    new = {i for i, s in enumerate(score) if s is None}
    assert len(new & set(kept)) == min(k, len(new))
    assert found.weights.mean() == pytest.approx(1, rel=1e-5)
    assert found.weights.min() > 0


@pytest.mark.parametrize("mix", [0.0, 0.2, 1.0])
@pytest.mark.parametrize("k", [1, 3])
def test_each_sample_is_drawn_as_often_as_one_by_one_by_its_weight(mix, k):
    v, runs = np.array([0.3, 0.0, 5.0, 0.3, 2.0]), 4000
    w = (1 - mix) * v / v.mean() + mix
    chance = np.array(oracle.inclusion(w.tolist(), k))
    times = np.zeros(5)
    for epoch in range(runs):
        times[drawn(v, k, mix=mix, epoch=epoch).kept] += 1
    deviation = np.sqrt(runs * chance * (1 - chance))
    assert np.all(np.abs(times - runs * chance) <= 4.5 * deviation)


@pytest.mark.parametrize("mix", [0.05, 0.2, 1.0])
@pytest.mark.parametrize("share", [0.2, 0.5, 0.9])
def test_the_chances_make_the_sum_over_the_kept_that_over_all(mix, share):
    numbers, runs, n = np.random.default_rng(0), 800, 400
    v = numbers.exponential(size=n) ** 2
    # A new sample is kept for sure: weights relative to its own are 1 / pi_k.
    score = [None, *v[1:]]
    losses = {"the scores": v, "others": numbers.normal(size=n), "ones": np.ones(n)}
    sums = {name: np.empty(runs) for name in losses}
    for epoch in range(runs):
        found = drawn(score, int(share * n), mix=mix, correction=1, epoch=epoch)
        inverse = found.weights / found.weights[0]
        for name, l_k in losses.items():
            sums[name][epoch] = (inverse * l_k[found.kept]).sum()
    for name, l_k in losses.items():
        error = sums[name].std() / math.sqrt(runs)
        assert abs(sums[name].mean() - l_k.sum()) < 4.5 * error


@pytest.mark.parametrize("k", [50, 400, 1600])
def test_full_correction_estimates_the_mean_to_within_order_1_over_k(k):
    runs, v = 300, np.random.default_rng(0).exponential(size=2000)
    means = np.empty((2, runs))
    for c in (0, 1):
        for epoch in range(runs):
            found = drawn(v, k, correction=c, epoch=epoch)
            means[c, epoch] = (found.weights * v[found.kept]).mean()
    plain, corrected = np.abs(means.mean(axis=1) - v.mean())
    tolerance = 3 / k + 4.5 * means[1].std() / math.sqrt(runs)
    assert corrected < tolerance < plain


def test_without_correction_the_mean_is_that_of_the_higher_scores():
    v = np.arange(400.0)
    means, corrected = [], []
    for epoch in range(50):
        plain, half = (drawn(v, 100, correction=c, epoch=epoch) for c in (0, 0.5))
        np.testing.assert_array_equal(plain.weights, np.ones(100))
        assert plain.kept.tolist() == half.kept.tolist()
        means.append(v[plain.kept].mean())
        corrected.append((half.weights * v[half.kept]).mean())
    assert np.mean(means) > np.mean(corrected) + 10 > v.mean() + 20


@few
@given(SCORES, SEEDS, st.data())
def test_only_the_ratios_of_scores_matter(score, seed, data):
    k = data.draw(st.integers(1, len(score) - 1))
    score = [None if s is None else min(s, 1e30) // 2**-20 for s in score]
    found = drawn(score, k, seed=seed)
    more = drawn([None if s is None else 8 * s for s in score], k, seed=seed)
    assert found.kept.tolist() == more.kept.tolist()
    np.testing.assert_array_equal(found.weights, more.weights)


@pytest.mark.parametrize("options", [{"mix": 1}, {}])
def test_equal_scores_and_a_full_mix_draw_uniformly_with_equal_weights(options):
    score = np.arange(50.0) if options else np.zeros(50)
    found = drawn(score, 20, **options)
    assert found.kept.tolist() == drawn(np.ones(50), 20).kept.tolist()
    np.testing.assert_allclose(found.weights, np.ones(20), rtol=1e-6)


def test_a_sample_that_is_sure_to_stay_weighs_least():
    # A new sample is kept for sure; a score far above the others' all but so.
    score = [None, 1e30, *[1.0] * 30]
    found = drawn(score, 12, correction=1)
    assert found.kept[:2].tolist() == [0, 1]
    low, others = found.weights[:2], found.weights[2:]
    assert low[0] == pytest.approx(low[1], rel=1e-5)
    assert others.min() > 2 * low.max()


def test_a_run_keeps_the_planned_counts_and_has_no_weights_in_full_epochs():
    half = ted.Constant(0.5, warmup=1)
    pruner = ted.Pruner(50, epochs=8, schedule=half, method="importance")
    planned, steps = pruner.schedule_table()["kept"].tolist(), pruner.total_steps(10)
    assert planned == [50, *[25] * 6, 50]
    ran = 0
    while not pruner.finished:
        plan = pruner.plan()
        assert len(plan) == planned[plan.epoch]
        assert plan.loss_scale == 50 / len(plan)
        assert (plan.weights is None) == (len(plan) == 50)
        ran += plan.steps(10)
        pruner.observe(plan.order, plan.order / 7)
        pruner.advance()
    assert ran == steps


def test_weights_stay_with_their_samples_in_the_shuffled_order():
    pruner = ted.Pruner(
        60, epochs=8, schedule=ted.Constant(0.5), strategy=ted.Importance()
    )
    pruner.observe(range(60), np.repeat([0.0, 1.0], [30, 30]))
    pruner.advance()
    plan = pruner.plan()
    high = plan.weights[plan.order >= 30]
    low = plan.weights[plan.order < 30]
    assert len(set(high.tolist())) == len(set(low.tolist())) == 1
    assert low[0] > 1 > high[0]


def test_the_score_is_what_the_reduction_makes_of_the_values():
    options = {"schedule": ted.Constant(0.5), "method": "importance"}
    spread = []
    for reduction in (None, ted.Last()):
        pruner = ted.Pruner(60, epochs=8, reduction=reduction, **options)
        for values in (59 - np.arange(60), np.arange(60)):
            pruner.observe(range(60), values)
            pruner.advance()
        spread.append(np.ptp(pruner.plan().weights))
    assert spread[0] == pytest.approx(0, abs=1e-6)  # by the mean of both values
    assert spread[1] > 0.1


def test_scores_below_zero_are_refused_with_the_remedy_on_every_process():
    message = r"scores must be at least 0 for Importance\(mix=0.2, .*, got 2 below 0; "
    with pytest.raises(ValueError, match=f"{message}give another .* `SoftTop`"):
        drawn([-1.0, 2.0, None, -0.5], 2)
    group = Group(2)
    make = pruners(
        group, (4, 5), epochs=5, strategy=ted.Importance(), schedule=ted.Constant(0.5)
    )

    def refused(rank, all_sum):
        pruner = make(rank, all_sum)
        pruner.observe(range(4), [1.0, -1.0, -2.0, 0.0] if rank else np.ones(4))
        pruner.advance()
        with pytest.raises(ValueError, match=message):
            pruner.plan()
        return True

    assert group.run(refused) == [True, True]


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        ({"mix": -0.1}, ValueError, r"`mix` must be in \[0, 1\], got -0.1"),
        ({"mix": math.nan}, ValueError, "`mix` must be in .* got nan"),
        ({"correction": 1.5}, ValueError, r"`correction` .* \[0, 1\], got 1.5"),
        ({"correction": "1"}, TypeError, "`correction` must be a real number, got '1'"),
    ],
)
def test_bad_parameters_are_refused_by_name(options, error, message):
    with pytest.raises(error, match=message):
        ted.Importance(**options)
