from __future__ import annotations

import numpy as np
import pytest
import shard_run
import torch_runs
from ted_torch import TED, find_shard

import ted_core as ted

N = sum(shard_run.SIZES)


@pytest.fixture(scope="module")
def ranks(rank_records):
    return rank_records["own shards"]


def selected(rows, strategy, epoch):
    """Give what a process that holds all scores selects."""
    scores = np.float32(np.concatenate([row["scores"] for row in rows]))
    ranking = np.where(np.isnan(scores), np.float32(np.inf), scores)
    ratio = 0.4 if epoch < shard_run.EPOCHS - 1 else 1.0
    request = ted.Request(
        n=N,
        count=ted.keep_count(N, ratio),
        keep_ratio=ratio,
        epoch=epoch,
        seed=4,
        ranking=ranking.copy,
    )
    return strategy.select(request).kept.tolist()


@pytest.mark.parametrize(
    ("run", "strategy"),
    [("epochs", ted.TopScore()), ("soft", ted.SoftTop(sharpness=2))],
)
def test_the_shards_keep_together_what_one_process_would(ranks, run, strategy):
    for epoch, rows in enumerate(zip(*(r[run] for r in ranks), strict=True)):
        kept = []
        for row, first in zip(rows, (0, shard_run.SIZES[0]), strict=True):
            kept += sorted(i + first for i in row["order"])
        assert kept == selected(rows, strategy, epoch)


def test_processes_stay_in_step_and_the_loss_makes_up_for_the_repeats(ranks):
    for rows in zip(*(record["epochs"] for record in ranks), strict=True):
        kept = [len(row["order"]) for row in rows]
        assert {row["visited"] for row in rows} == {max(kept)}
        assert {row["steps"] for row in rows} == {-(-max(kept) // shard_run.BATCH)}
        repeated = 2 * max(kept) - sum(kept)
        for row, size in zip(rows, kept, strict=True):
            assert row["imbalance"] == pytest.approx(repeated / (2 * max(kept)))
            ratio = 0.4 if sum(kept) < N else 1.0
            assert row["scale"] == pytest.approx(size * 2 / sum(kept) / ratio)
    for record in ranks:
        steps = sum(row["steps"] for row in record["epochs"])
        assert steps <= record["most steps"]
        assert "`pruner.max_total_steps` gives the bound" in record["total steps"]


def test_an_epoch_takes_few_collectives_and_a_state_none(ranks):
    for record in ranks:
        assert record["calls"].count("all_gather_object") == 1
        assert len(record["calls"]) <= 1 + shard_run.EPOCHS * (12 + 5)
        assert record["calls of state_dict"] == []
        assert record["calls of load_state_dict"] == []


def test_a_run_killed_in_mid_epoch_resumes_on_every_process(ranks):
    for record in ranks:
        epochs, scores = record["resumed"]
        assert [row["order"] for row in epochs] == [
            row["order"] for row in record["epochs"][3:]
        ]
        steps = [row["steps"] for row in record["epochs"][3:]]
        assert [row["steps"] for row in epochs] == [steps[0] - 2, *steps[1:]]
        assert scores == record["scores"]


def test_what_does_not_belong_together_is_refused_by_name(ranks):
    zero, one = (record["refusals"] for record in ranks)
    rule = "`shard.rank` must be the saved one, saved"
    assert zero["another rank"].startswith(f"{rule} 1, here 0; each process loads")
    assert one["another rank"].startswith(f"{rule} 0, here 1; each process loads")
    for refusals in (zero, one):
        same = "must be the same on all processes, got"
        for name, first, other in (
            ("seed", "4", "5"),
            ("epoch", 0, 3),
            ("shard", "exact", None),
            ("shard", "exact", "per_rank"),
        ):
            said = f"`{name}` {same} {first!r} on process 0 and {other!r} on process 1"
            assert said in refusals.values()
        kind = f"`strategy.kind` {same} 'TopScore'"
        assert refusals["other strategy"].startswith(kind)
        assert "must not be given beside `shard`" in refusals["no such shard"]
        assert "got 1 on rank 0 and 1000 on rank 1;" in refusals["uneven"]


def test_a_process_that_keeps_nothing_trains_on_with_weight_zero(ranks):
    zero, one = (record["none"] for record in ranks)
    assert [len(row["order"]) for row in one["epochs"]] == [0] * 5 + [27]
    assert [row["steps"] for row in one["epochs"]] == [
        row["steps"] for row in zero["epochs"]
    ]
    assert one["observed"] == [27] * 5 + [40]  # of weight 0
    assert zero["observed"] == [27] * 5 + [40]


@pytest.mark.parametrize(("name", "kept"), [("none", 0), ("few", 3)])
def test_a_process_killed_amid_its_repeats_goes_on_where_it_was(ranks, name, kept):
    zero, one = (record[name] for record in ranks)
    assert len(one["epochs"][1]["order"]) == kept
    steps = zero["epochs"][1]["steps"]
    for found in (zero, one):
        assert found["resumed"] == found["observed"]
        assert found["steps left"] == steps - 4 > 0


def test_a_process_without_a_finite_value_goes_on_with_the_others(ranks):
    assert [record["lost"] for record in ranks] == [[0], [1]]


def test_each_process_keeps_its_own_share_and_the_steps_are_those_promised(ranks):
    for record, size in zip(ranks, shard_run.SIZES, strict=True):
        kept = [len(row["order"]) for row in record["per rank"]]
        assert kept == [ted.keep_count(size, 0.4)] * 5 + [size]
        steps = sum(row["steps"] for row in record["per rank"])
        assert steps == record["foretold"]


@pytest.mark.parametrize("balance", ["exact", "per_rank"])
def test_a_sampler_is_not_asked_before_its_epoch_and_tells_the_imbalance(balance):
    data = torch_runs.labelled(20)
    shard = find_shard(data, balance=balance)
    run = TED(data, epochs=5, shard=shard, strategy=ted.Random())
    with pytest.raises(ted.EpochError, match="call `set_epoch` on every process first"):
        len(run.sampler)
    assert ted.run_metrics(run.pruner)["ted/keep_ratio"] == 0
    run.set_epoch(0)
    assert len(run.sampler) == 20
    found = ted.run_metrics(run.pruner)
    assert found == {
        "ted/keep_ratio": 1.0,
        "ted/samples_saved": 0.0,
        "ted/nonfinite_dropped": 0.0,
        "ted/imbalance": 0.0,
    }
    run.pruner.observe(run.pruner.plan().order, np.ones(20))
    run.pruner.advance()
    assert ted.run_metrics(run.pruner) == found  # of the epoch that has closed


@pytest.mark.parametrize(
    ("strategy", "rule"),
    [
        (ted.TopScore(class_floor=0.1), "have no class floor over shards"),
        (shard_run.Own(), "say with `over_shards` that it chooses over shards"),
    ],
)
def test_a_strategy_that_can_not_choose_over_shards_is_refused(strategy, rule):
    data, labels = torch_runs.labelled(20), np.arange(20) % 4
    options = {"epochs": 5, "strategy": strategy, "labels": labels}
    with pytest.raises(ValueError, match=rule) as refused:
        TED(data, shard=find_shard(data), **options)
    assert "use balance='per_rank', or scores that every process" in str(refused.value)
    run = TED(data, shard=find_shard(data, balance="per_rank"), **options)
    run.set_epoch(0)
    assert len(run.sampler) == 20


def test_a_shard_of_another_data_set_or_group_is_refused():
    data = torch_runs.labelled(20)
    with pytest.raises(ValueError, match="`shard` must have 20 samples on rank 0, got"):
        TED(data, epochs=5, shard=find_shard(range(21)))
    other = ted.Shard((20, 20), 1, lambda array: array)
    with pytest.raises(ValueError, match="must be that of rank 0 of 1 in `group`, got"):
        TED(data, epochs=5, shard=other)
    with pytest.raises(TypeError, match="`shard` must be a Shard, got 3"):
        TED(data, epochs=5, shard=3)
    with pytest.raises(ValueError, match="`balance` must be 'exact' or 'per_rank'"):
        find_shard(data, balance="even")
    with pytest.raises(ValueError, match="`sizes` must be at least 1, got 0"):
        find_shard([])
    with pytest.raises(TypeError, match="map-style data set with a length, got int"):
        find_shard(3)
