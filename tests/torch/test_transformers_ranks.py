from __future__ import annotations

from collections import Counter

import pytest
from trainer_rank_run import LENGTHS, OPTIONS, run
from trainer_runs import N

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
