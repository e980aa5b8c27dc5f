from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, reject, settings
from hypothesis import strategies as st
from simulated_ranks import Group, pruners, split

import ted_core as ted
from ted_core.selection.sharded import loss_factor, repeat_order

some = settings(max_examples=40, deadline=None)
SIZES = st.lists(st.integers(3, 15), min_size=1, max_size=4)
VALUES = st.sampled_from([0.0, 0.5, -2.0, 3e38, 1e-40, np.nan])
EPOCHS = 6


def strategies(n):
    return {
        "top": lambda _: ted.TopScore(),
        "soft": lambda _: ted.SoftTop(sharpness=2),
        "random": lambda _: ted.Random(),
        "balanced": lambda _: ted.Random(balanced=True),
        "greedy": lambda _: ted.EpsilonGreedy(epsilon=0.4),
        "ucb": lambda _: ted.UCB(confidence=2),
        "infobatch": lambda _: ted.InfoBatch(),
        "importance": lambda _: ted.Importance(),
        "static": lambda part: ted.Static(np.arange(n)[part] % 3),
    }


def run(pruner, part, values):
    """Train to the end: kept ids of all the data, weights, plans, scores."""
    kept, weights, plans = [], [], []
    while not pruner.finished:
        plan = pruner.plan()
        places = np.argsort(plan.order)
        kept.append(part[plan.order[places]])
        given_weights = np.ones(len(plan)) if plan.weights is None else plan.weights
        weights.append(given_weights[places])
        plans.append(plan)
        # each fourth sample of an epoch is lost, so that some are never presented
        seen = plan.order[part[plan.order] % 4 != plan.epoch % 4]
        # and some come with weight 0
        found = values[plan.epoch, part[seen]]
        pruner.observe(seen, found, valid=found != 2.5)
        pruner.advance()
    return kept, weights, plans, pruner.scores


@pytest.mark.filterwarnings("ignore:planned samples must be delivered")
@pytest.mark.parametrize("name", sorted(strategies(1)))
@some
@given(sizes=SIZES, seed=st.integers(0, 2**64 - 1), data=st.data())
def test_the_ranks_keep_what_one_process_keeps(name, sizes, seed, data):
    n = sum(sizes)
    drawn = data.draw(st.lists(VALUES, min_size=7, max_size=7))
    mixed = np.random.default_rng(seed % 1000).choice([*drawn, 1.5, 2.5], (EPOCHS, n))
    values = mixed.astype(np.float32)
    if name == "infobatch":
        # Its mean is that of all up to rounding, in which a number as small is lost.
        values[values == np.float32(1e-40)] = 0
    if name == "importance":
        values = np.abs(values)
    group, parts = Group(len(sizes)), split(np.arange(n), sizes)
    options = {"epochs": EPOCHS, "schedule": ted.Constant(0.5), "seed": seed}
    make = pruners(group, sizes, **options)
    strategy = strategies(n)[name]

    def train(rank, all_sum):
        part = parts[rank]
        return run(make(rank, all_sum, strategy=strategy(part)), part, values)

    alone = ted.Pruner(n, strategy=strategy(np.arange(n)), **options)
    try:
        kept, weights, _, scores = run(alone, np.arange(n), values)
    except ted.EpochError:
        reject()  # an epoch of NaN
    ranks = group.run(train)
    for epoch in range(EPOCHS):
        together = np.concatenate([rank[0][epoch] for rank in ranks])
        assert together.tolist() == kept[epoch].tolist()
        weighed = np.concatenate([rank[1][epoch] for rank in ranks])
        np.testing.assert_allclose(weighed, weights[epoch], rtol=1e-6)
        counts = tuple(len(rank[0][epoch]) for rank in ranks)
        assert {rank[2][epoch].kept_by_rank for rank in ranks} == {counts}
    np.testing.assert_array_equal(np.concatenate([rank[3] for rank in ranks]), scores)


def test_a_rank_holds_its_own_samples_alone_and_an_epoch_sums_a_few_kilobytes():
    group, sizes = Group(2), (3_000, 2_000)
    make = pruners(group, sizes, epochs=5, strategy=ted.TopScore())

    def train(rank, all_sum):
        pruner = make(rank, all_sum)
        pruner.observe(range(sizes[rank]), np.sin(np.arange(sizes[rank])))
        pruner.advance()
        group.bytes.clear()
        pruner.plan()
        state = pruner.state_dict()
        return sum(v.nbytes for k, v in state.items() if k.startswith("scores."))

    assert group.run(train) == [7 * size for size in sizes]
    assert len(group.bytes) <= 12 + 2
    assert sum(group.bytes) < 32 * 1024


@given(st.lists(st.integers(0, 2000), min_size=1, max_size=5).filter(any))
def test_the_factors_make_the_mean_over_ranks_that_over_the_kept_samples(kept):
    n, length = 3000, max(kept)
    share = 0
    for size in kept:
        order = np.arange(size)
        path = repeat_order(order, length, n)
        assert path.size == length
        times = np.bincount(path, minlength=n)
        assert times.max() <= 255
        weight = loss_factor(size, tuple(kept)) / length / len(kept)
        counted = times[:size]
        assert size == 0 or counted.max() - counted.min() <= 1
        assert np.all((times[size:] > 0).sum() == 0) or 255 * size < length
        share += weight * counted.sum()
    assert share == pytest.approx(1)


@pytest.mark.parametrize("balance", ["exact", "per_rank"])
def test_a_run_killed_in_mid_epoch_goes_on_as_if_it_had_not_been(balance):
    group, sizes = Group(3), (20, 14, 25)
    make = pruners(
        group, sizes, epochs=8, strategy=ted.SoftTop(), schedule=ted.Constant(0.4)
    )

    def train(rank, all_sum):
        def steps(pruner):
            orders = []
            while not pruner.finished:
                plan = pruner.plan()
                orders.append(plan.order.tolist())
                rest = plan.order[pruner.state_dict()["open.observed"] :]
                pruner.observe(rest, np.cos(rest * (rank + 2)))
                pruner.advance()
            return orders, pruner.scores.tolist()

        whole = steps(make(rank, all_sum, balance=balance))
        killed = make(rank, all_sum, balance=balance)
        for _ in range(3):
            order = killed.plan().order
            killed.observe(order, np.cos(order * (rank + 2)))
            killed.advance()
        order = killed.plan().order[:2]
        killed.observe(order, np.cos(order * (rank + 2)))
        again = make(rank, all_sum, balance=balance)
        again.load_state_dict(killed.state_dict())
        assert again.planned
        orders, scores = steps(again)
        assert orders == whole[0][3:]
        assert scores == whole[1]
        return len(whole[0])

    assert group.run(train) == [8] * 3


def test_each_rank_keeps_its_own_share_and_the_steps_are_known():
    group, sizes = Group(3), (40, 60, 44)
    make = pruners(
        group, sizes, epochs=8, strategy=ted.TopScore(), schedule=ted.Constant(0.5)
    )

    def train(rank, all_sum):
        pruner = make(rank, all_sum, balance="per_rank")
        foretold = pruner.total_steps(7)
        group.bytes.clear()
        steps, kept = 0, []
        while not pruner.finished:
            plan = pruner.plan()
            steps += plan.steps(7)
            kept.append(plan.kept_by_rank)
            pruner.observe(plan.order, np.sin(plan.order))
            pruner.advance()
        assert steps == foretold == pruner.max_total_steps(7)
        return kept

    rows = group.run(train)
    assert rows == [[(20, 30, 22)] * 7 + [sizes]] * 3
    assert group.bytes == [8 * 3, 8 * 5] * 8  # the counts, and what came


def test_ranks_of_their_own_share_shuffle_and_draw_each_by_themselves():
    group = Group(2)
    make = pruners(
        group, (50, 50), epochs=5, strategy=ted.Random(), schedule=ted.Constant(0.5)
    )
    first, second = group.run(
        lambda rank, all_sum: make(rank, all_sum, balance="per_rank").plan()
    )
    assert first.kept.tolist() != second.kept.tolist()
    whole = group.run(lambda rank, all_sum: make(rank, all_sum, seed=1).plan())
    assert whole[0].order.tolist() != whole[1].order.tolist()


def test_steps_over_shards_are_bounded_not_foretold():
    group, sizes = Group(2), (30, 10)
    make = pruners(
        group, sizes, epochs=8, strategy=ted.TopScore(), schedule=ted.Constant(0.5)
    )

    def check(rank, all_sum):
        pruner = make(rank, all_sum)
        with pytest.raises(
            ValueError, match=r"over shards; `pruner.max_total_steps` gives"
        ):
            pruner.total_steps(10)
        return pruner.max_total_steps(10), pruner.max_total_steps(10, world_size=2)

    assert group.run(check) == [(7 * 2 + 3, 7 * 2 + 3)] * 2


@pytest.mark.parametrize(
    ("other", "says"),
    [
        ({"rank": 1}, "`n` must equal the saved one, saved 20, here 14"),
        ({"sizes": (20, 21)}, "`shard.total` must equal .* saved 34, here 41"),
        ({"sizes": (20, 7, 7)}, "`shard.world_size` must equal .* saved 2, here 3"),
        ({"balance": "per_rank"}, "`shard.balance` must equal the saved one"),
        ({"rank": 1, "sizes": (14, 20)}, "`shard.rank` must equal .* saved 0, here 1"),
    ],
)
def test_a_state_of_another_rank_or_world_is_refused_by_name(other, says):
    def alone(sizes=(20, 14), rank=0, balance="exact"):
        shard = ted.Shard(sizes, rank, lambda array: array, balance=balance)
        return ted.Pruner(sizes[rank], epochs=5, shard=shard, strategy=ted.Random())

    with pytest.raises(ted.CheckpointError, match=says):
        alone(**other).load_state_dict(alone().state_dict())
    whole = ted.Pruner(20, epochs=5, strategy=ted.Random())
    with pytest.raises(ted.CheckpointError, match=r"known fields only, got shard"):
        whole.load_state_dict(alone().state_dict())
    with pytest.raises(ted.CheckpointError, match=r"`state` must have 'shard.rank'"):
        alone().load_state_dict(whole.state_dict())
