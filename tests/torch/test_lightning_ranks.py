from __future__ import annotations

import pytest
import torch
from lightning_runs import BATCH, EPOCHS, Classifier, fit

from ted_core import CheckpointError

SIZE = 2

pytestmark = [
    pytest.mark.filterwarnings("ignore:The '.*_dataloader' does not have many"),
    pytest.mark.filterwarnings("ignore:Be aware that when using `ckpt_path`"),
]


@pytest.fixture
def ranks(rank_records):
    return rank_records["lightning"]


@pytest.mark.parametrize("run", ["whole", "shared by Lightning"])
def test_processes_share_each_epochs_order_and_end_alike(ranks, run):
    for epoch in map(str, range(EPOCHS)):
        order = ranks[0][run]["plans"][epoch]
        # The first ids are given out again to make the shares even.
        even = order + order[: -len(order) % SIZE]
        for rank, record in enumerate(ranks):
            assert record[run]["orders"][epoch] == even[rank::SIZE]
    for record in ranks:
        assert record[run]["end"] == ranks[0][run]["end"]
        assert record[run]["steps"] == record[run]["total_steps"]
        assert record[run]["rate"] < 1e-8


def test_who_says_that_the_sampler_shares_makes_no_difference(ranks):
    for record in ranks:
        assert record["whole"] == record["shared by Lightning"]


def test_with_drop_last_the_promised_steps_are_those_of_each_process(ranks):
    for rank, record in enumerate(ranks):
        run, steps, dropped = record["drop_last"], 0, 0
        for epoch, order in run["plans"].items():
            share = (order + order[: -len(order) % SIZE])[rank::SIZE]
            batches = len(share) // BATCH
            assert run["orders"][epoch] == share[: batches * BATCH]
            steps, dropped = steps + batches, dropped + len(share) % BATCH
        assert dropped
        assert run["steps"] == run["total_steps"] == steps
        assert run["rate"] < 1e-8
        assert run["end"] == ranks[0]["drop_last"]["end"]


def test_a_run_killed_in_mid_epoch_goes_on_bit_for_bit_on_every_process(ranks):
    for record in ranks:
        for name, rest in record["resumed"].items():
            assert rest["end"] == record["whole"]["end"], name
            assert rest["steps"] == record["whole"]["steps"]
            for epoch, order in rest["orders"].items():
                assert order == record["whole"]["orders"][epoch][-len(order) :]


def test_processes_keep_what_one_with_as_large_a_batch_keeps(ranks):
    # DDP averages the gradients of its batches: those of one as large, as long as no
    # sample is visited twice to make the shares even.
    net, _, _ = fit(module=lambda ted: Classifier(ted, batch_size=SIZE * BATCH))
    plans = ranks[0]["whole"]["plans"]
    assert [plans[epoch] for epoch in "01"] == [net.orders()[epoch] for epoch in (0, 1)]


def test_a_file_of_mid_epoch_holds_every_part_and_one_process_refuses_it(ranks):
    file = ranks[0]["middle"]
    state = torch.load(file, weights_only=True)["callbacks"]["TEDCallback"]
    assert [part["rank"] for part in state["ranks"]] == list(range(SIZE))
    with pytest.raises(
        CheckpointError, match="`num_replicas` must be the saved one while"
    ):
        fit(ckpt_path=file)
