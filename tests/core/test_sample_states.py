"""What becomes of samples that yield no value: weight 0, not finite, not delivered."""

from __future__ import annotations

import math
import warnings
from collections import Counter

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import ted_core as ted

INF = math.inf
VALUED, WEIGHTLESS, NONFINITE, SKIPPED, UNDELIVERED = range(5)


def deliver(pruner, order, kinds, values):
    """Train one epoch in which each sample comes as its kind says."""
    kind, n = kinds[order], pruner.n
    taken = order[kind <= NONFINITE]
    lost = np.where(kinds == NONFINITE, np.nan, values)
    pruner.observe(taken, lost[taken], valid=kinds[taken] != WEIGHTLESS)
    skipped = np.zeros(n, np.uint8)
    skipped[order[kind == SKIPPED]] = 1
    pruner.observe_sums(np.zeros(n), np.zeros(n, int), deliveries=skipped)
    pruner.advance()


STRATEGIES = {
    "top": {"strategy": ted.TopScore()},
    "floors": {"strategy": ted.TopScore(class_floor=0.1)},
    "ucb": {"strategy": ted.UCB()},
    "soft": {"strategy": ted.SoftTop()},
    "epsilon": {"strategy": ted.EpsilonGreedy(epsilon=0.3)},
    "infobatch": {"strategy": ted.InfoBatch()},
    "importance": {"strategy": ted.Importance()},
    "random": {"strategy": ted.Random()},
}
SCHEDULES = [
    ted.RollerCoaster(0.7),
    ted.RollerCoaster(0.85, anneal=0),
    ted.Linear(0.6, warmup=2),
    ted.Constant(0.7, anneal=0),
    ted.Cosine(0.3),
]


@settings(max_examples=60, deadline=None)
@given(
    name=st.sampled_from(sorted(STRATEGIES)),
    schedule=st.sampled_from(SCHEDULES),
    shares=st.lists(st.floats(0, 0.5), min_size=4, max_size=4).filter(
        lambda shares: sum(shares) <= 0.55
    ),
    n=st.integers(150, 300),
    seed=st.integers(0, 2**32),
)
def test_samples_without_a_value_never_outrank_those_with_one(
    name, schedule, shares, n, seed
):
    numbers = np.random.default_rng(seed)
    kinds = numbers.choice(5, n, p=[1 - sum(shares), *shares])
    options = {**STRATEGIES[name], "schedule": schedule, "seed": seed}
    if name == "floors":
        options["labels"] = np.arange(n) % 3
    pruner, planned = ted.Pruner(n, epochs=10, **options), Counter()
    without_weight, valued = (int((kinds == k).sum()) for k in (WEIGHTLESS, VALUED))
    chance = name in {"soft", "importance", "epsilon", "infobatch", "random"}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ted.TedWarning)
        while not pruner.finished:
            order = pruner.plan().order
            waiting = [planned[k] < 1 + (kinds[k] == UNDELIVERED) for k in range(n)]
            if not any(waiting):
                kept = Counter(kinds[order].tolist())
                others = order.size - kept[VALUED]
                if name in {"top", "floors", "ucb", "soft", "importance"}:
                    ranked = n - without_weight
                    assert kept[WEIGHTLESS] == max(0, order.size - ranked)
                # The median of the valued is not among the best half.
                if name == "random" or order.size <= (n - without_weight) / 2:
                    share = 1 - valued / n
                    mean, sd = share * order.size, math.sqrt(order.size) / 2
                    soft = 0.2 * mean if name in {"soft", "importance"} else 0
                    assert others <= mean + 2 + soft + 6 * sd * chance
            planned.update(order.tolist())
            deliver(pruner, order, kinds, numbers.permutation(n) + 1.0)


def test_weightless_samples_are_the_first_to_go():
    # 200 of 1,000 samples have no label: weight 0 in every epoch.
    pruner = ted.Pruner(1000, epochs=10, prune_ratio=0.7)
    kinds = np.where(np.arange(1000) < 200, WEIGHTLESS, VALUED)
    while not pruner.finished:
        order = pruner.plan().order
        if order.size < 1000:
            assert (order >= 200).all()
        deliver(pruner, order, kinds, np.arange(1000.0))
    assert pruner.report().weightless.tolist() == [200, *[0] * 8, 200]
    assert pruner.report().weightless_ids.tolist() == list(range(200))
    # In full-data epochs they are forwarded all the same.
    assert pruner.savings().ratio == pruner.savings().planned_ratio


@pytest.mark.parametrize("name", sorted(STRATEGIES))
def test_a_run_with_half_of_its_weights_at_zero_does_not_die(name):
    options = dict(STRATEGIES[name])
    if name == "floors":
        options["labels"] = np.arange(300) // 150  # a class without any weight
    pruner = ted.Pruner(300, epochs=8, **options)
    kinds = np.where(np.arange(300) < 150, WEIGHTLESS, VALUED)
    while not pruner.finished:
        deliver(pruner, pruner.plan().order, kinds, np.arange(300.0))
    assert pruner.report().missing.sum() == 0
    planned, ratio = pruner.report().planned.sum(), pruner.savings().ratio
    assert ratio == pytest.approx(1 - planned / 2400)


def state(n=6, **options):
    return ted.Pruner(
        n, epochs=8, schedule=ted.Constant(0.5, anneal=0, warmup=4), **options
    )


def ranking(pruner):
    return pruner._table.ranking().tolist()


def test_each_state_has_its_rank():
    pruner = state()
    pruner.observe([0, 1, 2, 3], [1.0, 5.0, 3.0, np.nan])
    pruner.observe([4], [7.0], valid=[False])
    pruner.advance()
    assert ranking(pruner) == [1, 5, 3, 3, -INF, INF]
    # The second time that sample 5 is not delivered it takes the median; one with a
    # score keeps it; weight 0 ranks last whatever the score was.
    pruner.observe([0, 4, 2], [1.0, 2.0, 9.0], valid=[True, True, False])
    with pytest.warns(ted.TedWarning, match="got 1 that were not in two epochs"):
        pruner.advance()
    assert ranking(pruner) == [1, 5, -INF, 2.5, 2, 2.5]
    assert pruner.report().undelivered_ids.tolist() == [5]
    # A value brings a sample back, with the score that it had: Eq. 19 goes on.
    pruner.observe([2, 5], [3.0, 8.0])
    pruner.advance()
    assert ranking(pruner)[2] == pytest.approx(3)
    assert ranking(pruner)[5] == 8
    assert pruner.report().undelivered_ids.tolist() == [1, 3]


def test_what_ranks_nothing_says_nothing_of_samples_that_were_not_delivered():
    pruner = ted.Pruner(6, epochs=4, method="random", prune_ratio=0.0)
    for _ in range(2):
        pruner.observe([0, 1, 2, 3, 4], np.ones(5))
        pruner.advance()  # a warning would be an error
    assert pruner.report().undelivered_ids.tolist() == [5]


def test_a_sample_with_weight_in_one_delivery_has_a_value():
    pruner = state()
    pruner.observe([0, 0, 1], [4.0, 2.0, 1.0], valid=[False, True, True])
    pruner.advance()
    assert ranking(pruner)[:2] == [2, 1]


def test_a_step_skipped_before_its_backward_leaves_the_score():
    pruner = state(4)
    pruner.observe([0, 1, 2, 3], [1.0, 2.0, 3.0, np.nan])
    pruner.advance()
    counts = np.array([1, 0, 0, 0])
    pruner.observe_sums([5.0, 0, 0, 0], counts, deliveries=np.ones(4, np.uint8))
    pruner.advance()
    assert pruner.scores[1:3].tolist() == [2, 3]
    assert pruner.report().nonfinite.tolist() == [1, 3]
    assert pruner.report().missing.tolist() == [0, 0]


def test_an_epoch_that_drops_many_values_warns_once_a_run_and_not_of_a_few():
    pruner = ted.Pruner(200, epochs=6)

    def close(bad):
        order = pruner.plan().order
        values = np.ones(order.size)
        values[:bad] = np.nan
        pruner.observe(order, values)
        pruner.advance()

    close(20)  # a tenth
    said = f"got 11 of {len(pruner.plan())} in epoch 1 that are not and were dropped"
    with pytest.warns(ted.TedWarning, match=said) as warned:
        close(11)
    assert warned[0].filename == __file__
    close(50)
    assert pruner.nonfinite_dropped == 81
    small = ted.Pruner(20, epochs=6)
    small.observe(np.arange(20), np.append(np.ones(10), np.full(10, np.inf)))
    small.advance()
    assert small.nonfinite_dropped == 10


def test_masked_values_are_missing_values():
    pruner = state(3)
    values = np.ma.masked_array([1.0, 9.0, 3.0], [False, True, False])
    pruner.observe([0, 1, 2], values)
    pruner.advance()
    assert pruner.update_counts.tolist() == [1, 0, 1]
    assert ranking(pruner) == [1, 2, 3]
    pruner.observe([0, 1, 2], np.ma.masked_array([1, 9, 3], [False, True, False]))
    pruner.advance()
    assert pruner.report().nonfinite_ids.tolist() == [1]
    masked = np.ma.masked_array([0, 1], [False, True])
    with pytest.raises(ValueError, match="`ids` must have a value everywhere, got 1"):
        pruner.observe(masked, [1.0, 1.0])
    with pytest.raises(ValueError, match="`initial_scores` must be finite, got nan"):
        ted.Pruner(3, epochs=5, initial_scores=values)


@pytest.mark.parametrize(
    ("valid", "message"),
    [
        (
            [True],
            r"`valid` must hold True or False of shape \(2,\) like `ids`, got bool",
        ),
        ([1, 0], "`valid` must hold True or False of shape .* got int64"),
    ],
)
def test_a_bad_mask_is_refused_by_name_and_nothing_is_taken(valid, message):
    pruner = state()
    with pytest.raises(ValueError, match=message):
        pruner.observe([0, 1], [1.0, 1.0], valid=valid)
    with pytest.raises(ted.EpochError, match="got none in epoch 0; call `observe`"):
        pruner.advance()


def test_an_epoch_without_a_value_names_the_true_reason():
    pruner = state()
    pruner.observe([0, 1], [1.0, 1.0], valid=[False, False])
    only = "got 2 samples in epoch 0 and none finite: 2 with weight 0, 0 not finite, 0"
    with pytest.raises(ted.EpochError, match=f"{only}.*a weight above 0"):
        pruner.advance()
    pruner.observe([2], [np.nan])
    more = np.array([0, 0, 0, 1, 1, 0])
    pruner.observe_sums(np.zeros(6), np.zeros(6, int), deliveries=more)
    reasons = "2 with weight 0, 1 not finite, 2 without a backward pass; look for NaN"
    with pytest.raises(ted.EpochError, match=f"got 5 samples .* {reasons}"):
        pruner.advance()
    with pytest.raises(ted.EpochError, match="got 5 samples"):
        pruner.finish()
    assert pruner.epoch == 0


def test_random_needs_no_values_and_static_neither():
    balanced = ted.Random(balanced=True)
    for strategy in (ted.Random(), balanced, ted.Static(np.arange(6))):
        pruner = state(strategy=strategy)
        pruner.observe(range(6), np.ones(6), valid=np.zeros(6, bool))
        pruner.advance()
        pruner.advance()
        assert pruner.report().weightless.tolist() == [6, 0]


def test_an_epoch_of_samples_that_never_come_is_the_last_that_ranks_them_first():
    # 4 of 6 items are broken files which the collate function leaves out.
    options = {"schedule": ted.Constant(0.5, anneal=0, warmup=1)}
    pruner = ted.Pruner(6, epochs=5, **options)
    pruner.observe([0, 1], [1.0, 2.0])
    pruner.advance()
    assert (pruner.plan().order >= 2).all()
    with pytest.warns(ted.TedWarning, match="got 3 that were not in two epochs"):
        pruner.advance()
    assert set(pruner.plan().order) >= {1}


def test_missing_samples_beyond_an_incomplete_batch_are_told():
    pruner = state(10)
    pruner.observe(range(7), np.ones(7))
    with pytest.warns(ted.TedWarning, match="its 10 planned samples, got 7: 3 are"):
        pruner.advance(max_missing=2)
    pruner.observe(range(2, 10), np.ones(8))
    pruner.advance(max_missing=2)


def test_the_processes_together_say_what_was_forwarded():
    pruner = state(10)
    pruner.observe(range(10), np.ones(10))
    pruner.advance(forwarded=12)
    assert pruner.savings().forwarded == 12
    assert pruner.savings().ratio == -0.2


@settings(max_examples=30, deadline=None)
@given(data=st.data(), n=st.integers(1, 30))
def test_states_survive_a_resume_in_mid_epoch(data, n):
    kinds = np.array(data.draw(st.lists(st.integers(0, 4), min_size=n, max_size=n)))
    kinds[0] = VALUED
    options = {"epochs": 6, "schedule": ted.Constant(0.3, anneal=0, warmup=2)}
    pruner, other = (ted.Pruner(n, **options) for _ in range(2))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ted.TedWarning)
        for epoch in range(3):
            order = pruner.plan().order
            kind = kinds[order]
            taken = order[kind <= NONFINITE]
            values = np.where(kinds == NONFINITE, np.inf, epoch + 1.0)
            valid = kinds[taken] != WEIGHTLESS
            pruner.observe(taken, values[taken], valid=valid)
            if data.draw(st.booleans()):
                other.load_state_dict(pruner.state_dict())
                pruner, other = other, pruner
            if not (kind == VALUED).any():
                return
            pruner.advance()
            other.load_state_dict(pruner.state_dict())
            assert ranking(other) == ranking(pruner)


@pytest.mark.parametrize("name", ["forwarded", "max_missing"])
@pytest.mark.parametrize("close", [ted.Pruner.advance, ted.Pruner.finish])
def test_an_epoch_is_closed_with_counts_and_stays_open_without(name, close):
    pruner = ted.Pruner(4, epochs=5)
    pruner.observe([0, 1, 2, 3], [1, 2, 3, 4])
    with pytest.raises(TypeError, match=f"`{name}` must be an integer, got ''"):
        close(pruner, **{name: ""})
    with pytest.raises(ValueError, match=f"`{name}` must be in .0, .* got -1"):
        close(pruner, **{name: -1})
    assert (pruner.epoch, pruner.finished) == (0, False)
