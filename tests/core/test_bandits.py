from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from oracles import rivals as oracle
from oracles.algorithm1 import kept_by_definition_3

import ted_core as ted
from ted_core._scores import ScoreTable
from ted_core.reductions import MeanAndVariance
from ted_core.strategies.base import pick

few = settings(max_examples=40, deadline=None)
SCORES = st.lists(
    st.one_of(st.none(), st.sampled_from([0.0, 0.5, 1.0, -2.0, 3e30])),
    min_size=1,
    max_size=25,
)


def request(score, count, *, seed=0, epoch=1, variance=None, labels=None):
    ranking = np.array([math.inf if s is None else s for s in score], np.float32)
    columns = {} if variance is None else {"variance": np.float32(variance)}
    return ted.Request(
        n=len(score),
        count=count,
        keep_ratio=max(count / len(score), 0.01),
        epoch=epoch,
        seed=seed,
        ranking=ranking.copy,
        columns=columns,
        labels=labels,
    )


def constant(strategy, n=20, ratio=0.5, **options):
    schedule = ted.Constant(ratio, anneal=0)
    return ted.Pruner(n, epochs=8, schedule=schedule, strategy=strategy, **options)


@settings(max_examples=200, deadline=None)
@given(
    SCORES,
    st.sampled_from([0, 0.1, 0.25, 0.3, 0.5, 0.75, 1]),
    st.integers(0, 2**64 - 1),
    st.data(),
)
def test_epsilon_greedy_keeps_the_best_and_draws_the_rest(score, epsilon, seed, data):
    k = data.draw(st.integers(1, len(score)))
    strategy = ted.EpsilonGreedy(epsilon=epsilon)
    kept = strategy.select(request(score, k, seed=seed)).kept
    best = oracle.greedy_part(score, k, epsilon, seed=seed, epoch=1)
    others = np.array([i for i in range(len(score)) if i not in best], np.int32)
    rest = pick(others, k - len(best), request(score, k, seed=seed))
    assert kept.tolist() == sorted([*best, *rest.tolist()])


@pytest.mark.parametrize(
    ("score", "chance"),
    [
        ([0.0] * 20, [8 / 20] * 20),
        (list(range(20)), [4 / 16] * 16 + [1.0] * 4),
        ([0.0] * 14 + [1.0] * 6, [4 / 16] * 14 + [4 / 6 + 2 / 6 * 4 / 16] * 6),
    ],
    ids=["equal", "distinct", "a tie at the cut"],
)
def test_epsilon_greedy_draws_every_sample_it_does_not_rank_equally_often(
    score, chance
):
    strategy, runs = ted.EpsilonGreedy(epsilon=0.5), 2000
    times = np.zeros(20)
    for epoch in range(runs):
        times[strategy.select(request(score, 8, epoch=epoch)).kept] += 1
    # the sd is at most 22
    assert np.abs(times - np.multiply(chance, runs)).max() < 100


def test_epsilon_zero_is_top_score_and_epsilon_one_looks_at_no_score():
    score = np.sin(np.arange(30)).tolist()
    top = ted.TopScore().select(request(score, 9)).kept
    greedy = ted.EpsilonGreedy(epsilon=0).select(request(score, 9)).kept
    assert greedy.tolist() == top.tolist()
    random = ted.EpsilonGreedy(epsilon=1)
    drawn = [random.select(request(s, 9)).kept for s in (score, score[::-1])]
    assert drawn[0].tolist() == drawn[1].tolist()


@few
@given(
    st.lists(
        st.lists(st.floats(-100, 100, width=32), min_size=3, max_size=3),
        min_size=1,
        max_size=6,
    ),
    st.floats(0, 0.99),
)
def test_mean_and_variance_are_those_of_a_loop_over_the_values(epochs, alpha):
    table = ScoreTable(3, reduction=MeanAndVariance(alpha))
    slow = [oracle.MeanAndVariance(alpha) for _ in range(3)]
    for values in epochs:
        table.buffer.observe([0, 1, 2], values)
        table.close()
        for sample, x in zip(slow, values, strict=True):
            sample.see(x)
    np.testing.assert_allclose(table.scores, [s.mu for s in slow], rtol=1e-4, atol=1e-3)
    np.testing.assert_allclose(
        table.columns["variance"], [s.v for s in slow], rtol=1e-3, atol=1e-2
    )


@settings(max_examples=200, deadline=None)
@given(
    SCORES,
    st.sampled_from([0, 0.125, 0.3, 1, 2.5, 10]),
    st.sampled_from(["variance", "deviation"]),
    st.data(),
)
def test_ucb_keeps_the_highest_bounds(score, c, bonus, data):
    n = len(score)
    k = data.draw(st.integers(1, n))
    v = data.draw(st.lists(st.sampled_from([0.0, 0.25, 4.0]), min_size=n, max_size=n))
    strategy = ted.UCB(confidence=c, bonus=bonus)
    kept = strategy.select(request(score, k, variance=v)).kept
    extra = [math.sqrt(x) if bonus == "deviation" else x for x in v]
    bound = [
        None if s is None else float(np.float32(s + c * x))
        for s, x in zip(score, extra, strict=True)
    ]
    assert kept.tolist() == kept_by_definition_3(bound, k, seed=0, epoch=1)


@pytest.mark.parametrize("bonus", ["variance", "deviation"])
def test_ucb_weighs_the_bonus_by_the_confidence(bonus):
    for c, winner in ((1.999, 0), (2.001, 1)):
        strategy = ted.UCB(confidence=c, bonus=bonus)
        extra = 0.25 if bonus == "variance" else 0.25**2
        kept = strategy.select(request([0.5, 0.0], 1, variance=[0, extra])).kept
        assert kept.tolist() == [winner]


def test_a_sample_whose_value_swings_is_kept_before_a_steady_one_of_the_same_mean():
    pruner = constant(ted.UCB(alpha=0.5), n=2)
    for values in ([1.0, 1.5], [3.0, 1.5], [1.0, 1.5]):
        pruner.observe([0, 1], values)
        pruner.advance()
    assert pruner.scores.tolist() == [1.5, 1.5]
    assert pruner.plan().kept.tolist() == [0]


def test_the_deviation_is_free_of_the_values_scale_and_the_variance_is_not():
    def kept(bonus, factor):
        pruner = constant(ted.UCB(bonus=bonus), n=60)
        for epoch in range(4):
            values = np.sin(np.arange(60) * (epoch + 1)) + np.arange(60) % 7 / 4
            pruner.observe(range(60), values.astype(np.float32) * factor)
            pruner.advance()
        return pruner.plan().kept.tolist()

    assert kept("deviation", 1) == kept("deviation", 2**-10)
    assert kept("variance", 1) != kept("variance", 2**-10)


@pytest.mark.parametrize("confidence", [1e30, 1e308])
def test_a_bound_beyond_float32_stays_below_a_sample_never_presented(confidence):
    top = float(np.finfo(np.float32).max)
    strategy = ted.UCB(confidence=confidence)
    kept = strategy.select(request([top, None, 0.0], 1, variance=[top, 0, top])).kept
    assert kept.tolist() == [1]


def test_huge_values_leave_a_finite_variance():
    table = ScoreTable(1, reduction=MeanAndVariance(0.5))
    for value in (3e38, -3e38, 3e38):
        table.buffer.observe([0], [value])
        table.close()
    assert np.isfinite(table.columns["variance"]).all()
    assert np.isfinite(table.scores).all()


@pytest.mark.parametrize(
    "strategy", [ted.UCB(class_floor=0.3), ted.SoftTop(class_floor=0.3)]
)
def test_class_floors_keep_a_share_of_each_class(strategy):
    labels = np.arange(40) % 4
    pruner = constant(strategy, n=40, labels=labels)
    while not pruner.finished:
        kept = np.bincount(labels[pruner.plan().order], minlength=4)
        assert kept.sum() == 20
        assert kept.min() >= 3
        pruner.observe(range(40), labels * 10.0)
        pruner.advance()


@pytest.mark.parametrize(
    ("make", "error", "message"),
    [
        (lambda: ted.EpsilonGreedy(epsilon=1.1), ValueError, r"`epsilon` .* \[0, 1\]"),
        (lambda: ted.EpsilonGreedy(epsilon="a"), TypeError, "`epsilon` must be a real"),
        (lambda: ted.UCB(confidence=-1), ValueError, "`confidence` must .* got -1"),
        (lambda: ted.UCB(confidence=math.inf), ValueError, "`confidence` .* got inf"),
        (lambda: ted.UCB(alpha=1), ValueError, r"`alpha` must be in \[0, 1\)"),
        (lambda: ted.UCB(bonus="sd"), ValueError, "`bonus` must be 'variance' or"),
        (lambda: ted.UCB(class_floor=2), ValueError, "`class_floor` must be in"),
        (lambda: constant(ted.UCB(class_floor=0.5)), ValueError, "`labels` must be"),
        (
            lambda: constant(ted.UCB(), reduction=ted.Last()),
            ValueError,
            r"`reduction` must be MeanAndVariance\(alpha=0.9\) for UCB\(.* got Last",
        ),
    ],
)
def test_bad_parameters_are_refused_by_name(make, error, message):
    with pytest.raises(error, match=message):
        make()
