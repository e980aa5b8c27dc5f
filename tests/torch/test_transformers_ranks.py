from __future__ import annotations

from collections import Counter

import pytest
from torchrun import records

BATCH = 4


@pytest.fixture(scope="module")
def ranks(tmp_path_factory):
    """Run the script on two ranks and give every rank's record."""
    return records("trainer_rank_run.py", 2, tmp_path_factory.mktemp("ranks"))


def test_ranks_share_the_batches_and_agree_on_scores_and_weights(ranks):
    one, other = (record["whole"] for record in ranks)
    for name in ("scores", "visits", "weights", "kept", "forwarded"):
        assert one[name] == other[name]
    for (epoch, mine), (_, theirs) in zip(one["seen"], other["seen"], strict=True):
        assert len(mine) == len(theirs)
        times = Counter(sample for batch in mine + theirs for sample in batch)
        assert len(times) == one["kept"][epoch]
        # Shares are made even with samples from the epoch's start.
        assert sum(times.values()) - len(times) < 2 * BATCH


def test_ranks_step_as_often_as_foretold(ranks):
    for record in (record["whole"] for record in ranks):
        assert record["steps"] == record["max_steps"] > 0
        assert record["rate"] == [0.0, 0.0]


@pytest.mark.parametrize("step", [3, 5, 6])
def test_ranks_resume_bit_for_bit_between_epochs_and_within(step, ranks):
    for record in ranks:
        again, whole = record[f"from {step}"], record["whole"]
        for name in ("steps", "scores", "visits", "weights", "rate", "forwarded"):
            assert again[name] == whole[name]
        visited = dict(whole["seen"])
        for epoch, batches in again["seen"]:
            assert batches == visited[epoch][-len(batches) :]


def test_a_checkpoint_of_another_world_is_refused_on_every_rank(ranks):
    for rank, record in enumerate(ranks):
        says = f"a checkpoint must hold 'ted_{rank}.pt' for rank {rank} of 2, "
        assert record["another world"].startswith(f"{says}got ['ted.pt'] in ")
