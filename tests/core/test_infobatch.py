from __future__ import annotations

import itertools
import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from oracles import rivals as oracle

import ted_core as ted

few = settings(max_examples=60, deadline=None)
SCORES = st.lists(
    st.one_of(st.none(), st.sampled_from([0.0, 0.1, 0.5, -2.0, 3e30])),
    min_size=1,
    max_size=25,
)


def selected(score, ratio, *, seed=0, epoch=1, multiple_of=1):
    ranking = np.array([math.inf if s is None else s for s in score], np.float32)
    request = ted.Request(
        n=len(score),
        count=ted.keep_count(len(score), ratio),
        keep_ratio=ratio,
        epoch=epoch,
        seed=seed,
        ranking=ranking.copy,
        multiple_of=multiple_of,
    )
    return ted.InfoBatch().select(request)


def pruner(n=6, schedule=None, **options):
    schedule = schedule or ted.Constant(0.5)
    return ted.Pruner(
        n, epochs=8, schedule=schedule, strategy=ted.InfoBatch(), **options
    )


@few
@given(SCORES, st.floats(0.01, 1), st.integers(0, 2**64 - 1), st.integers(1, 9))
def test_k_of_the_m_below_the_mean_stay_with_the_weight_m_over_k(
    score, ratio, seed, multiple
):
    score = [None if s is None else float(np.float32(s)) for s in score]
    below = oracle.below_the_mean(score) if ratio < 1 else []
    found = selected(score, ratio, seed=seed, multiple_of=multiple)
    kept, n, m = found.kept.tolist(), len(score), len(below)
    assert set(range(n)) - set(below) <= set(kept)
    if not below:
        assert kept == list(range(n))
        assert found.weights is None
        return
    total = n - m + max(1, oracle.nearest(ratio * m))
    total = min(n, math.ceil(total / multiple) * multiple)
    assert len(kept) == total
    k = total - (n - m)
    assert k >= 1
    for z, weight in zip(kept, found.weights.tolist(), strict=True):
        assert weight == (np.float32(m / k) if z in below else 1)


def test_the_expected_weighted_sum_of_any_losses_is_their_sum():
    score, runs = [0.0, 0.1, 0.2, 0.3, 0.4, 5.0, 6.0], 4000
    losses = np.array([7.0, 1.0, 3.0, 2.0, 9.0, 4.0, 5.0])
    totals = []
    for epoch in range(runs):
        found = selected(score, 0.4, epoch=epoch)
        totals.append((losses[found.kept] * found.weights).sum())
    # every pair of the 5 below the mean is as likely as any other
    pairs = [9 + 5 / 2 * sum(pair) for pair in itertools.combinations(losses[:5], 2)]
    assert np.mean(pairs) == pytest.approx(losses.sum())
    error = np.std(pairs) / math.sqrt(runs)
    assert abs(np.mean(totals) - losses.sum()) < 5 * error
    assert np.std(totals) == pytest.approx(np.std(pairs), rel=0.1)


@pytest.mark.parametrize("value", [0.1, 1 / 3, 1e-30, 3e38])
@pytest.mark.parametrize("n", [1, 2, 3, 7, 1000])
def test_equal_scores_prune_nothing_whatever_the_rounding_of_their_mean(n, value):
    assert selected([value] * n, 0.1).kept.size == n


def test_samples_never_presented_stay_and_do_not_move_the_mean():
    found = selected([None, 0.0, 0.0, 1.0, None], 0.01)
    assert {0, 3, 4} <= set(found.kept.tolist())
    assert sorted(found.weights.tolist()) == [1, 1, 1, 2]


def test_the_loss_is_not_divided_by_the_keep_ratio_and_the_tail_is_full():
    run = pruner(n=40, schedule=ted.Constant(0.5, anneal=0.25))
    sizes = []
    while not run.finished:
        plan = run.plan()
        sizes.append(len(plan))
        assert plan.loss_scale == 1
        run.observe(plan.order, np.where(plan.order < 30, 1.0, 2.0))
        run.advance()
    assert sizes == [40] + [25] * 5 + [40] * 2
    assert plan.weights is None
    assert run.report().planned.tolist() == sizes
    assert run.savings().planned == sum(sizes)


def test_weights_stay_with_their_samples_in_the_shuffled_order():
    run = pruner(n=40)
    run.observe(range(40), np.repeat([0.0, 1.0], [30, 10]))
    run.advance()
    plan = run.plan()
    np.testing.assert_array_equal(plan.weights, np.where(plan.order < 30, 2, 1))


def test_steps_are_not_announced_and_the_bound_is_full_data():
    run = pruner(n=40)
    for name in ("total_steps", "schedule_table"):
        call = getattr(run, name)
        with pytest.raises(
            ValueError, match=f"`{name}` .* `pruner.max_total_steps` gives"
        ):
            call(8) if name == "total_steps" else call()
    assert run.max_total_steps(8) == 8 * 5


def test_the_newest_value_is_the_score_and_no_other_reduction_is_taken():
    run = pruner(n=2)
    for values in ([1.0, 5.0], [3.0, 2.0]):
        run.observe([0, 1], values)
        run.advance()
    assert run.scores.tolist() == [3.0, 2.0]
    with pytest.raises(ValueError, match=r"`reduction` must be Last\(\) for InfoBatch"):
        pruner(reduction=ted.Polyak())


def test_few_epochs_warn_with_a_bound_of_the_saving():
    with pytest.warns(ted.TedWarning, match="saves little, at most"):
        ted.Pruner(10, epochs=4, strategy=ted.InfoBatch())
