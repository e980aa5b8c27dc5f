from __future__ import annotations

from collections import Counter

import numpy as np
import pytest
import trl_rank_run
from trainer_rank_run import LENGTHS, OPTIONS, facts, run
from trainer_runs import N
from trl_runs import run_of

from ted_core import CheckpointError

BATCH = 4


@pytest.fixture
def ranks(rank_records):
    return rank_records["transformers"]


def test_processes_share_the_batches_and_agree_on_scores_and_weights(ranks):
    records = [record["whole"] for record in ranks]
    one = records[0]
    for record in records:
        for name in ("scores", "visits", "weights", "kept", "forwarded"):
            assert record[name] == one[name]
    for kept, *shares in zip(one["kept"], *(r["seen"] for r in records), strict=True):
        (length,) = {len(batches) for _, batches in shares}
        assert length
        times = Counter(k for _, batches in shares for ids in batches for k in ids)
        assert len(times) == kept
        # Shares are made even with samples from the epoch's start.
        assert sum(times.values()) - len(times) < len(ranks) * BATCH


def test_processes_step_as_often_as_planned(ranks):
    for record in (record["whole"] for record in ranks):
        assert record["steps"] == record["max_steps"] > 0
        assert record["rate"] == [0.0, 0.0]


def test_processes_share_batches_of_like_lengths_and_resume_within_one(ranks):
    records = [record["grouped"] for record in ranks]
    step = BATCH * len(ranks) * OPTIONS["gradient_accumulation_steps"]
    for epochs in zip(*(record["seen"] for record in records), strict=True):
        shares = [batches for _, batches in epochs]
        dealt = [ids for batches in zip(*shares, strict=True) for ids in batches]
        order = [LENGTHS[k] for ids in dealt for k in ids][: step * (N // step)]
        assert order[0] == max(order)
        # An epoch this small has one megabatch of one optimizer step or two.
        for start in range(0, len(order), step):
            part = order[start : start + step]
            assert part == sorted(part, reverse=True)
    for record in ranks:
        again, whole = record["grouped from 4"], record["grouped"]
        for fact in ("steps", "scores", "visits", "weights", "rate", "forwarded"):
            assert again[fact] == whole[fact]


# The last of them is one file a process, as older versions wrote it.
@pytest.mark.parametrize("name", ["from 3", "from 5", "from 6", "from older files"])
def test_processes_resume_bit_for_bit_between_epochs_and_within(name, ranks):
    for record in ranks:
        again, whole = record[name], record["whole"]
        for fact in ("steps", "scores", "visits", "weights", "rate", "forwarded"):
            assert again[fact] == whole[fact]
        visited = dict(whole["seen"])
        for epoch, batches in again["seen"]:
            assert batches == visited[epoch][-len(batches) :]


def test_a_checkpoint_of_another_world_is_refused(ranks, tmp_path):
    says = "`world_size` must be the saved one, saved 2, here 1"
    with pytest.raises(CheckpointError, match=says):
        run(tmp_path, ranks[0]["checkpoint"])


OF_TRL = pytest.mark.filterwarnings(
    "ignore:::(trl|datasets|transformers|torch|accelerate)"
)


@pytest.mark.parametrize("name", trl_rank_run.CASES)
def test_processes_of_trl_forward_the_plan_and_end_at_a_rate_of_0(name, rank_records):
    records = [record[name] for record in rank_records["trl"]]
    one = records[0]
    for record in records:
        assert record["steps"] == record["max_steps"] > 0
        assert record["rate"] == [0.0, 0.0]
        for fact in ("scores", "visits", "weights", "kept", "forwarded"):
            assert record[fact] == one[fact]
    assert min(one["kept"]) < max(one["kept"])
    for kept, *shares in zip(one["kept"], *(r["seen"] for r in records), strict=True):
        (length,) = {len(batches) for _, batches in shares}
        assert length
        times = Counter(k for _, batches in shares for ids in batches for k in ids)
        assert len(times) == kept
        assert sum(times.values()) - kept < len(records) * trl_rank_run.BATCH


@pytest.mark.parametrize("name", ["sft from 8", "dpo from 8"])
def test_processes_of_trl_resume_bit_for_bit_within_an_epoch(name, rank_records):
    for record in rank_records["trl"]:
        again, whole = record[name], record[name.removesuffix(" from 8")]
        for fact in ("steps", "scores", "visits", "weights", "rate", "forwarded"):
            assert again[fact] == whole[fact]
        visited = dict(whole["seen"])
        epochs = [epoch for epoch, _ in again["seen"]]
        assert epochs == [1, 2, 3]
        for epoch, batches in again["seen"]:
            assert batches == visited[epoch][-len(batches) :]


# Packed rows fill up a last batch; KTO draws its other answers by a process's batches.
@OF_TRL
@pytest.mark.parametrize("name", ["sft", "dpo", "reward"])
def test_processes_of_trl_train_as_one_with_their_batches(name, rank_records, tmp_path):
    (host, options), ranks = trl_rank_run.CASES[name], rank_records["trl"]
    size = trl_rank_run.BATCH * len(ranks)
    alone = run_of(host, tmp_path, per_device_train_batch_size=size, **options)
    alone.train()
    found, record = facts(alone), ranks[0][name]
    np.testing.assert_allclose(found["scores"], record["scores"], rtol=1e-3)
    for mine, theirs in zip(found["weights"], record["weights"], strict=True):
        np.testing.assert_allclose(mine, theirs, rtol=1e-3, atol=1e-5)
