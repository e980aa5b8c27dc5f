from __future__ import annotations

import pytest
import torch
from lightning_runs import BATCH, EPOCHS, Classifier, fit
from torchrun import records

from ted_core import CheckpointError

SIZE = 2

pytestmark = [
    pytest.mark.filterwarnings("ignore:The '.*_dataloader' does not have many"),
    pytest.mark.filterwarnings("ignore:Be aware that when using `ckpt_path`"),
]


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("ranks")


@pytest.fixture(scope="module")
def ranks(folder):
    """Train under DDP on two processes, and go on from a file in mid-epoch."""
    return records("lightning_ranks.py", SIZE, folder)


@pytest.mark.parametrize("run", ["whole", "shared by the host's word"])
def test_ranks_share_each_epochs_order_and_end_alike(ranks, run):
    for epoch in map(str, range(EPOCHS)):
        order = ranks[0][run]["plans"][epoch]
        both = [record[run]["orders"][epoch] for record in ranks]
        shares = [order[rank::SIZE] for rank in range(SIZE)]
        shares[1] += order[:1] if len(shares[1]) < len(shares[0]) else []
        assert both == shares
    for record in ranks:
        assert record[run]["end"] == ranks[0][run]["end"]
        assert record[run]["steps"] == record[run]["total_steps"]
        assert record[run]["rate"] < 1e-8


def test_who_says_that_the_sampler_shares_makes_no_difference(ranks):
    for record in ranks:
        assert record["whole"] == record["shared by the host's word"]


def test_a_run_killed_in_mid_epoch_goes_on_bit_for_bit_on_every_rank(ranks):
    for record in ranks:
        for name, rest in record["resumed"].items():
            assert rest["end"] == record["whole"]["end"], name
            assert rest["steps"] == record["whole"]["steps"]
            for epoch, order in rest["orders"].items():
                assert order == record["whole"]["orders"][epoch][-len(order) :]


def test_two_ranks_keep_what_one_process_with_twice_the_batch_keeps(ranks):
    # DDP averages the gradients of two batches: those of one twice as large, as long
    # as no sample is visited twice to make the shares even.
    net, _, _ = fit(module=lambda ted: Classifier(ted, batch_size=SIZE * BATCH))
    plans = ranks[0]["whole"]["plans"]
    assert [plans[epoch] for epoch in "01"] == [net.orders()[epoch] for epoch in (0, 1)]


@pytest.mark.usefixtures("ranks")
def test_a_file_of_mid_epoch_holds_every_ranks_part_and_one_process_refuses_it(folder):
    file = folder / "middle.ckpt"
    state = torch.load(file, weights_only=True)["callbacks"]["TEDCallback"]
    assert [part["rank"] for part in state["ranks"]] == list(range(SIZE))
    with pytest.raises(
        CheckpointError, match="`num_replicas` must be the saved one while"
    ):
        fit(ckpt_path=file)
