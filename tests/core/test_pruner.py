from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import ted_core as ted
from ted_core.selection._randomness import ORDER, SELECT, stream


def run(pruner, signal=np.sin, until=None):
    plans = []
    while not pruner.finished and pruner.epoch != until:
        plans.append(pruner.plan())
        pruner.observe(plans[-1].order, signal(plans[-1].order))
        pruner.advance()
    return plans


def test_planning_is_pure_and_only_advance_moves_the_epoch():
    pruner = ted.Pruner(50, epochs=6)
    first = pruner.plan()
    pruner.observe([1], [2.0])
    assert pruner.plan() is first
    assert pruner.epoch == 0
    pruner.observe(first.order, np.ones(50))
    pruner.advance()
    assert pruner.epoch == 1
    assert pruner.plan() is not first


@pytest.mark.filterwarnings("ignore:`batch_size` of .* a last batch of one sample")
@settings(max_examples=30, deadline=None)
@given(
    st.integers(1, 300),
    st.integers(5, 12),
    st.sampled_from([0.0, 0.5, 0.9]),
    st.integers(1, 50),
    st.integers(1, 64),
)
def test_the_steps_and_counts_of_a_run_are_known_before_it_starts(
    n, epochs, s, multiple, batch
):
    pruner = ted.Pruner(n, epochs=epochs, prune_ratio=s, multiple_of=multiple)
    total, table = pruner.total_steps(batch), pruner.schedule_table()
    plans = run(pruner)
    assert total == sum(plan.steps(batch) for plan in plans)
    assert total == pruner.max_total_steps(batch)
    assert table["kept"].tolist() == [len(plan) for plan in plans]
    assert table["loss_scale"].tolist() == [plan.loss_scale for plan in plans]
    saved = ted.planned_save_ratio(
        ted.RollerCoaster(s), epochs, n=n, multiple_of=multiple
    )
    assert pruner.savings().ratio == pytest.approx(saved)
    assert pruner.savings().planned_ratio == pytest.approx(saved)


def test_the_same_seed_and_observations_give_the_same_orders_another_seed_others():
    one, same, other = (ted.Pruner(200, epochs=6, seed=s) for s in (1, 1, 2))
    plans = [run(pruner) for pruner in (one, same, other)]
    for a, b, c in zip(*plans, strict=True):
        np.testing.assert_array_equal(a.order, b.order)
        assert not np.array_equal(a.order, c.order)


def test_an_order_is_a_permutation_of_the_kept_ids_and_read_only():
    pruner = ted.Pruner(100, epochs=8)
    for plan in run(pruner):
        assert np.unique(plan.order).tolist() == plan.kept.tolist()
        assert plan.order.dtype == np.int32
        with pytest.raises(ValueError, match="read-only"):
            plan.order[0] = 1


def test_no_global_generator_is_read_or_seeded():
    before = repr(np.random.get_state())  # noqa: NPY002 - the one to leave alone
    run(ted.Pruner(50, epochs=6, strategy=ted.Random()))
    assert repr(np.random.get_state()) == before  # noqa: NPY002


def test_neighbouring_epochs_and_purposes_share_no_word():
    words = [
        set(stream(5, purpose=p, epoch=e).integers(2**63, size=5000).tolist())
        for p in (ORDER, SELECT)
        for e in range(3)
    ]
    assert len(set.union(*words)) == sum(map(len, words))


def test_random_draws_uniformly_and_needs_no_values():
    pruner = ted.Pruner(
        100, epochs=300, schedule=ted.Constant(0.5, anneal=0), strategy=ted.Random()
    )
    kept = np.zeros(100)
    while not pruner.finished:
        kept[pruner.plan().order] += 1
        pruner.advance()
    # a binomial of 300 draws has mean 150 and sd 8.7
    assert np.all(np.abs(kept - 150) < 45)


@settings(max_examples=30, deadline=None)
@given(st.data())
def test_class_floors_keep_a_share_of_each_class_and_then_the_best(data):
    n = data.draw(st.integers(10, 60))
    labels = np.array(
        data.draw(st.lists(st.integers(0, 2), min_size=n, max_size=n)), np.int64
    )
    pruner = ted.Pruner(
        n,
        epochs=6,
        schedule=ted.Constant(0.5, anneal=0),
        strategy=ted.TopScore(class_floor=0.3),
        labels=labels,
    )
    while not pruner.finished:
        plan = pruner.plan()
        assert len(plan) == ted.keep_count(n, 0.5)
        sizes = np.bincount(labels, minlength=3)
        kept = np.bincount(labels[plan.kept], minlength=3)
        assert np.all(kept >= np.floor(0.3 * sizes))
        assert np.all(kept[sizes > 0] >= 1)
        pruner.observe(np.arange(n), labels + np.arange(n) / n)
        pruner.advance()


def test_without_floors_labels_change_nothing():
    plain = ted.Pruner(30, epochs=6)
    labelled = ted.Pruner(30, epochs=6, labels=np.arange(30) % 2)
    for a, b in zip(run(plain), run(labelled), strict=True):
        np.testing.assert_array_equal(a.order, b.order)


def test_the_loss_scale_can_be_switched_off():
    plans = run(ted.Pruner(30, epochs=6, scale_loss=False))
    assert {plan.loss_scale for plan in plans} == {1.0}


def test_an_epoch_without_values_is_an_error_for_a_strategy_that_scores():
    pruner = ted.Pruner(10, epochs=5)
    with pytest.raises(ted.EpochError, match="must have observed values, got none"):
        pruner.advance()
    assert pruner.epoch == 0


def test_the_report_counts_missing_repeated_and_not_finite_samples():
    pruner = ted.Pruner(4, epochs=5)
    pruner.observe([0, 0, 1, 2], [1.0, 1.0, 2.0, math.nan])
    pruner.advance()
    report = pruner.report()
    counts = (report.planned, report.observed, report.distinct, report.repeated)
    assert [c.tolist() for c in counts] == [[4], [4], [3], [1]]
    assert (report.missing.tolist(), report.nonfinite.tolist()) == ([1], [1])


def test_finish_closes_an_early_stop_and_is_harmless_when_repeated():
    pruner = ted.Pruner(4, epochs=5)
    pruner.observe([0], [1.0])
    early = r"must have 5 epochs as planned, got 1: 4 more, 1 of them on all data, did"
    with pytest.warns(ted.TedWarning, match=early):
        pruner.finish()
    pruner.finish()
    assert pruner.finished
    assert pruner.scores[0] == 1.0
    for call in (pruner.plan, pruner.advance, lambda: pruner.observe([0], [1.0])):
        with pytest.raises(ted.EpochError, match="finished"):
            call()


def test_one_epoch_is_refused_and_few_warn_with_the_planned_saving():
    with pytest.raises(ValueError, match=r"`epochs` must be at least 2, got 1; .*"):
        ted.Pruner(10, epochs=1)
    said = r"`epochs`=4 saves little, 30\.\d% of .* only 2 of the epochs prune"
    with pytest.warns(ted.TedWarning, match=said):
        ted.Pruner(1000, epochs=4)
    ted.Pruner(1000, epochs=3)  # without an epoch on all data at the end it saves more
    ted.Pruner(1000, epochs=3, prune_ratio=0)  # has nothing to save
    ted.Pruner(1000, epochs=3, schedule=ted.Constant(0))


def test_few_epochs_warn_at_the_line_of_the_caller():
    with pytest.warns(ted.TedWarning, match="saves little") as warned:
        ted.Pruner(1000, epochs=4)
    assert warned[0].filename == __file__


def text(epoch, kept, *, method="ted", saved="0.0%"):
    return f"Pruner(epoch={epoch} of 6, {kept}, method={method!r}, saved={saved})"


def test_the_repr_tells_epoch_samples_kept_ones_and_method_and_plans_nothing():
    pruner = ted.Pruner(1000, epochs=6, schedule=ted.Constant(0.5, warmup=1))
    assert repr(pruner) == text(0, "keeps 1000 of 1000 samples")
    assert not pruner.planned
    order = pruner.plan().order
    pruner.observe(order, order)
    pruner.advance()
    assert repr(pruner) == text(1, "keeps 500 of 1000 samples")
    pruner.observe(pruner.plan().order, np.ones(500))
    assert repr(pruner) == text(1, "keeps 500 of 1000 samples")
    pruner.advance()
    with pytest.warns(ted.TedWarning):
        pruner.finish()
    assert repr(pruner) == text(2, "finished, 1000 samples", saved="25.0%")


def test_the_repr_of_one_process_with_a_shard_asks_no_other():
    def together(array):
        raise AssertionError(array)

    pruner = ted.Pruner(20, epochs=6, shard=ted.Shard((20, 20), 1, together))
    assert repr(pruner) == text(0, "20 samples")


def test_the_repr_does_not_guess_a_count_that_the_scores_decide():
    pruner = ted.Pruner(9, epochs=6, strategy=ted.InfoBatch(), signal="loss")
    method = f"{ted.InfoBatch()!r} of loss"
    assert repr(pruner) == text(0, "9 samples", method=method)
    pruner.plan()
    assert repr(pruner) == text(0, "keeps 9 of 9 samples", method=method)


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        ({"n": 0}, ValueError, "`n` must be at least 1, got 0; an empty data set"),
        ({"n": 2.5}, TypeError, "`n` must be an integer, got 2.5"),
        ({"epochs": None}, TypeError, "`epochs` must be a known number"),
        ({"epochs": math.inf}, TypeError, "`epochs` must be a known number"),
        ({"epochs": -3}, ValueError, "`epochs` must be at least 1, got -3"),
        ({"prune_ratio": 1.0}, ValueError, r"`prune_ratio` must be in \[0, 1\)"),
        ({"prune_ratio": math.nan}, ValueError, "`prune_ratio` must be in"),
        ({"seed": -1}, ValueError, "`seed` must be in"),
        ({"seed": 2**64}, ValueError, "`seed` must be in"),
        ({"multiple_of": 0}, ValueError, "`multiple_of` must be at least 1, got 0"),
        ({"schedule": 0.7}, TypeError, "`schedule` must be a Schedule, got 0.7"),
        ({"schedule": ted.Linear}, TypeError, "`schedule` must be a Schedule"),
        ({"strategy": "top"}, TypeError, "`strategy` must be a Strategy, got 'top'"),
        ({"reduction": ted.Last}, TypeError, "`reduction` must be a Reduction"),
        ({"signal": "gradient"}, ValueError, "`signal` must be one of mask_gradient"),
        ({"scale_loss": 1}, TypeError, "`scale_loss` must be True or False, got 1"),
        ({"labels": [0, 1]}, ValueError, r"`labels` must hold integers of shape \(10"),
        (
            {"prune_ratio": 0.5, "schedule": ted.Linear(0.5)},
            ValueError,
            "`prune_ratio` must not be given beside `schedule`",
        ),
        (
            {"strategy": ted.TopScore(class_floor=0.1)},
            ValueError,
            "`labels` must be given for `class_floor`=0.1",
        ),
        (
            {"strategy": ted.TopScore(class_floor=0.9), "labels": np.zeros(10, int)},
            ValueError,
            "`class_floor` must leave at most",
        ),
    ],
)
def test_bad_arguments_are_refused_by_name(arguments, error, message):
    with pytest.raises(error, match=message):
        ted.Pruner(**{"n": 10, "epochs": 8, **arguments})
