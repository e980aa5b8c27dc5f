from __future__ import annotations

import numpy as np
import pytest
import rank_run
import torch
from hypothesis import given
from hypothesis import strategies as st
from ted_torch import Ranks
from ted_torch.ranks import check_equal_across_ranks, find_ranks, share_of
from torch.utils.data import DistributedSampler

from ted_core import EpochError


@pytest.fixture(scope="module", params=["two ranks", "three ranks"])
def ranks(request, rank_records):
    return rank_records[request.param]


@pytest.fixture(scope="module")
def alone():
    ted = rank_run.session()
    orders, lengths = rank_run.run(ted)
    return orders, lengths, ted


def test_every_process_plans_what_one_alone_plans(ranks, alone):
    for record in ranks:
        assert record["orders"] == alone[0]
        assert record["scores"] == ranks[0]["scores"]
        # A batch of another size is summed in another order.
        np.testing.assert_allclose(record["scores"], alone[2].pruner.scores, rtol=1e-5)


def test_shares_are_even_and_the_steps_are_those_promised(ranks):
    (lengths,) = {tuple(record["lengths"]) for record in ranks}
    assert {record["total_steps"] for record in ranks} == {sum(lengths)}
    share = [-(-len(order) // len(ranks)) for order in ranks[0]["orders"]]
    assert ranks[0]["forwarded"] == sum(share) * len(ranks)


def test_an_epoch_takes_one_collective_and_a_state_none(ranks):
    for record in ranks:
        want = ["all_gather_object"] + ["all_reduce"] * rank_run.EPOCHS
        assert record["calls"] == want
        assert record["calls of state_dict"] == []


def test_a_run_killed_in_mid_epoch_resumes_on_every_process(ranks):
    for record in ranks:
        orders, lengths = record["resumed"]
        assert orders == record["orders"][3:]
        assert lengths == [record["lengths"][3] - 1, *record["lengths"][4:]]
        assert record["resumed scores"] == record["scores"]


def test_a_state_of_one_process_in_mid_epoch_warns_and_a_closed_ones_fits_any(
    ranks,
):
    for record in ranks:
        (said,) = record["open"]
        assert f"on each of the {len(ranks)} processes" in said
        assert "`ted.close_epoch()`" in said
        assert record["closed"] == []
        assert record["moved"] == 4


def test_a_state_of_mid_epoch_from_another_process_or_world_is_refused(ranks):
    for rank, record in enumerate(ranks):
        other = (rank + 1) % len(ranks)
        rule = "`rank` must be the saved one while an epoch is open"
        assert record["another rank"].startswith(f"{rule}, saved {other}, here {rank};")
        assert f"saved {len(ranks)}, here 1;" in record["another world"]


def test_sharing_and_merging_are_separate(ranks):
    for record in ranks:
        assert record["whole"] == [rank_run.N, record["total_steps"]]


def test_processes_that_stop_before_the_first_step_finish_together(ranks):
    assert [record["idle"] for record in ranks] == [0] * len(ranks)
    for record in ranks:
        (said,) = record["idle warnings"]
        assert "got 0" in said


def test_a_session_made_before_the_process_group_is_refused(ranks):
    for record in ranks:
        assert "must be made after `init_process_group`" in record["early"]
        assert f"one process among {len(ranks)};" in record["early"]
        assert record["early check"] == record["early"]


def differing(name, first, other):
    """Give what is said where process 1 has another value."""
    rule = f"`{name}` must be the same on all processes"
    return f"{rule}, got {first!r} on process 0 and {other!r} on process 1"


def test_a_process_that_disagrees_is_named_on_every_process(ranks):
    for record in ranks:
        assert record["other seed"] == differing("seed", "4", "5")
        assert record["other n"] == differing("n", 67, 68)
        assert record["other version"] == differing("version", "1.0", "1.1")


def test_processes_that_resume_from_different_moments_are_named_and_do_not_train(ranks):
    for record in ranks:
        assert record["other position"] == differing("position", 4, 8)
        assert record["other epoch"] == differing("epoch", 0, 1)


def test_a_value_that_is_not_finite_on_one_process_is_dropped_on_all(ranks):
    assert [record["nonfinite"] for record in ranks] == [[1]] * len(ranks)


def test_ids_and_counters_beyond_the_integers_of_float32_stay_exact(ranks):
    size = len(ranks)
    for record in ranks:
        sums, counts, counters = record["far"]
        assert sums == [rank + 0.5 for rank in reversed(range(size))]
        assert counts == [1.0] * size
        assert record["far sum"] == size
        assert record["far weightless"]
        assert counters == [size * (2**40 + 1), size * (2**24 + 3)]


def test_ranks_that_split_the_data_by_themselves_are_told_how_to(monkeypatch):
    def theirs(facts, *_, **__):
        return [facts, {**facts, "fingerprint": 2}]

    monkeypatch.setattr("ted_torch.ranks.all_gather", theirs)
    says = "got 1 on process 0 and 2 on process 1: .*`random_split.*manual_seed"
    with pytest.raises(EpochError, match=says):
        check_equal_across_ranks(
            {"seed": 0, "fingerprint": 1}, Ranks(), device=torch.device("cpu")
        )


@given(size=st.integers(1, 50), replicas=st.integers(1, 60))
def test_shares_are_those_of_pytorchs_distributed_sampler(size, replicas):
    order = np.random.default_rng(size).permutation(size)
    for rank in range(replicas):
        theirs = DistributedSampler(
            order.tolist(), num_replicas=replicas, rank=rank, shuffle=False
        )
        share = share_of(order, Ranks(replicas, rank))
        assert share.tolist() == order[list(theirs)].tolist()
        assert share.dtype == order.dtype


def test_one_process_is_one_replica():
    assert find_ranks() == Ranks()
    assert find_ranks(4, 2) == Ranks(num_replicas=4, rank=2)


@pytest.mark.parametrize(
    ("given", "error", "says"),
    [
        ((2, None), TypeError, "`rank` must be an integer"),
        ((None, 1), TypeError, "`num_replicas` must be an integer"),
        ((0, 0), ValueError, "`num_replicas` must be at least 1"),
        ((2, 2), ValueError, r"`rank` must be in \[0, 1\], got 2; give `num_replicas`"),
        ((2, -1), ValueError, r"`rank` must be in \[0, 1\], got -1"),
        ((2, 1.0), TypeError, "`rank` must be an integer"),
        ((True, 0), TypeError, "`num_replicas` must be an integer"),
    ],
)
def test_replicas_that_do_not_fit_are_refused(given, error, says):
    with pytest.raises(error, match=says):
        find_ranks(*given)


def test_a_state_between_epochs_moves_to_another_world():
    ted = rank_run.session(num_replicas=3, rank=1)
    x = (
        torch.ones(rank_run.N, 4, requires_grad=True)
        * torch.arange(rank_run.N)[:, None]
    )
    ted.set_epoch(0)
    ted.loss(x.sum(1), mask=x, ids=torch.arange(rank_run.N)).backward()
    ted.set_epoch(1)
    other = rank_run.session()
    other.load_state_dict(ted.state_dict())
    assert other.pruner.plan().checksum == ted.pruner.plan().checksum
    assert len(other.sampler) == len(ted.pruner.plan())
