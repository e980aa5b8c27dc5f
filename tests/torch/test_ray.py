"""Ray Train on two processes, in its local mode: the data loader is left ours."""

from __future__ import annotations


def test_the_workers_forward_the_plan_and_the_rate_ends_at_zero(rank_records):
    whole = [record["whole"] for record in rank_records["ray"]]
    forwarded = [k for record in whole for k in record["forwarded"]]
    assert sorted(forwarded) == sorted(whole[0]["planned"])
    for record in whole:
        assert record["steps"][0] == record["steps"][1]
        assert record["rate"] == [0.0]
        assert record["scores"] == whole[0]["scores"]
        assert record["weights"] == whole[0]["weights"]


def test_a_run_resumed_from_rays_checkpoint_ends_with_the_same_weights(rank_records):
    for record in rank_records["ray"]:
        whole, resumed = record["whole"], record["resumed"]
        assert resumed["scores"] == whole["scores"]
        assert resumed["weights"] == whole["weights"]
        # From step 10 of more, in the middle of an epoch.
        assert len(resumed["forwarded"]) == len(whole["forwarded"]) - 10 * 8
        assert resumed["forwarded"] == whole["forwarded"][10 * 8 :]


def test_a_sampler_that_ray_replaces_is_told_and_refused(rank_records):
    for record in rank_records["ray"]:
        told = record["replaced"]
        assert len(told) == 2
        assert all("add_dist_sampler=False" in one for one in told)
        assert "must visit its kept samples alone" in told[-1]
