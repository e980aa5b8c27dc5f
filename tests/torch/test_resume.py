from __future__ import annotations

import pytest
import torch
from ted_torch import TED
from torch.utils.data import DataLoader
from workers import SERVER

import ted_core

EPOCHS = 6


def start(data, make_net, workers=0, **options):
    ted = TED(data, epochs=EPOCHS, prune_ratio=0.6, seed=9, **options)
    loader = DataLoader(
        ted.dataset,
        batch_size=4,
        sampler=ted.sampler,
        num_workers=workers,
        multiprocessing_context=SERVER if workers else None,
    )
    return ted, make_net(), loader


def go_on(ted, net, loader, train):
    """Train to the end and give every epoch's ids in the order of their coming."""
    seen = []
    for epoch in range(ted.epoch, EPOCHS):
        ted.set_epoch(epoch)
        seen.append(train(ted, net, loader))
    ted.finish()
    return seen


def same(ours, theirs):
    assert ours.keys() == theirs.keys()
    for name, value in ours.items():
        if isinstance(value, torch.Tensor):
            assert value.dtype == theirs[name].dtype
            assert value.numpy().tobytes() == theirs[name].numpy().tobytes(), name
        else:
            assert value == theirs[name]


def test_a_save_between_two_epochs_changes_no_number_of_a_logger(
    *, data, train, make_net
):
    ted, net, loader = start(data, make_net)
    for epoch in range(EPOCHS):
        ted.set_epoch(epoch)
        train(ted, net, loader)
        ted.close_epoch()
        told = ted_core.run_metrics(ted.pruner)
        assert told["ted/keep_ratio"] == ted.report().keep_ratio[epoch]
        ted.state_dict()
        assert ted_core.run_metrics(ted.pruner) == told


@pytest.mark.parametrize("workers", [0, 2])
@pytest.mark.parametrize("stop", [8, None], ids=["mid-epoch", "at an epoch's end"])
def test_a_killed_run_goes_on_bit_for_bit(
    *, data, train, make_net, tmp_path, stop, workers
):
    whole = start(data, make_net)
    want = go_on(*whole, train)

    ted, net, loader = start(data, make_net, workers)
    for epoch in range(3):
        ted.set_epoch(epoch)
        head = train(ted, net, loader, stop if epoch == 2 else None)
    path = tmp_path / "run.pt"
    torch.save({"ted": ted.state_dict(), "net": net.state_dict()}, path)
    del ted, loader

    saved = torch.load(path, weights_only=True)
    again, net, loader = start(data, make_net, workers)
    again.load_state_dict(saved["ted"])
    net.load_state_dict(saved["net"])
    same(again.state_dict(), saved["ted"])
    assert again.epoch == 2
    got = go_on(again, net, loader, train)
    assert head + got[0] == want[2]
    assert got[1:] == want[3:]
    same(again.state_dict(), whole[0].state_dict())
    for ours, theirs in zip(net.parameters(), whole[1].parameters(), strict=True):
        assert torch.equal(ours, theirs)


def test_a_second_save_in_a_resumed_epoch_keeps_the_position(data, train, make_net):
    ted, net, loader = start(data, make_net)
    ted.set_epoch(0)
    order = train(ted, net, loader, 8)
    for _ in range(2):
        state = ted.state_dict()
        ted, net, loader = start(data, make_net)
        ted.load_state_dict(state)
        ted.set_epoch(0)
        assert len(ted.sampler) == 40 - len(order)
        order += train(ted, net, loader, 8)
    assert order == ted.pruner.plan().order.tolist()[:24]


def test_a_state_is_a_copy_of_tensors_and_plain_values(data, train, make_net):
    ted, net, loader = start(data, make_net)
    ted.set_epoch(0)
    state = ted.state_dict()
    assert {type(value) for value in state.values()} <= {
        torch.Tensor,
        str,
        int,
        float,
        bool,
    }
    train(ted, net, loader)
    assert state["buffer.meters"].tolist() == [0, 0, 0]


@pytest.mark.parametrize(
    ("change", "match"),
    [
        ({"format": "other"}, "`format` must be 'ted_torch.TED', saved 'other'"),
        ({"version": 3}, "`version` must be at most 2, saved 3"),
        ({"order": 5}, "`order` must be the saved one"),
        ({"extra": 1}, "known fields only, got extra"),
        ({"pruner.n": 41}, "`n` must be the saved one"),
        ({"pruner.seed": "3"}, "`seed` must equal the saved one"),
        ({"pruner.scores.score": torch.zeros(40).bfloat16()}, "`scores.score` must be"),
        ({3: 4}, "known fields only, got 3"),
        ({"buffer.sums": torch.zeros(40)}, "`buffer.sums` must be float32 of"),
        ({"buffer.counts": [1]}, "`buffer.counts` must be uint8 of"),
        ({"buffer.meters": torch.tensor([4, 0, 4])}, "must agree with the counts"),
    ],
)
def test_a_damaged_state_is_refused_by_name_and_changes_nothing(
    data, train, make_net, change, match
):
    ted, net, loader = start(data, make_net)
    ted.set_epoch(0)
    train(ted, net, loader, 8)
    before = ted.state_dict()
    with pytest.raises(ted_core.CheckpointError, match=match):
        ted.load_state_dict({**before, **change})
    same(ted.state_dict(), before)


def test_a_state_without_a_field_and_no_state_at_all_are_refused(data, make_net):
    ted, _, _ = start(data, make_net)
    state = ted.state_dict()
    del state["buffer.sums"]
    with pytest.raises(ted_core.CheckpointError, match=r"must have 'buffer\.sums'"):
        ted.load_state_dict(state)
    with pytest.raises(TypeError, match="`state` must be a mapping, got list"):
        ted.load_state_dict([])


def test_a_whole_checkpoint_is_refused_with_the_name_of_the_state_in_it(data, make_net):
    ted, net, _ = start(data, make_net)
    whole = {"model": net.state_dict(), "ted": ted.state_dict()}
    says = r"`state_dict\(\)` returns, got 'model', 'ted'; give `state\['ted'\]`"
    with pytest.raises(ted_core.CheckpointError, match=says):
        ted.load_state_dict(whole)


def test_a_run_is_extended_on_purpose_only(data, train, make_net):
    ted, net, loader = start(data, make_net)
    ted.set_epoch(0)
    train(ted, net, loader)
    ted.set_epoch(1)
    longer = TED(data, epochs=9, prune_ratio=0.6, seed=9)
    with pytest.raises(ted_core.CheckpointError, match="`epochs` must equal"):
        longer.load_state_dict(ted.state_dict())
    assert longer.epoch == 0
    longer.load_state_dict(ted.state_dict(), allow=["epochs"])
    assert (longer.epoch, longer.sampler.start) == (1, 0)


def test_a_state_saved_right_after_loading_is_the_one_that_was_loaded(data, make_net):
    ted, net, loader = start(data, make_net)
    ted.set_epoch(0)
    ids, (x, y) = next(iter(loader))
    for _ in range(2):  # the loss is taken twice, the batch counts once
        z = net(x)
        losses = torch.nn.functional.cross_entropy(z, y, reduction="none")
        ted.loss(losses, mask=z, ids=ids).backward()
    state = ted.state_dict()
    assert state["position"] == 4
    for _ in range(2):
        ted, _, _ = start(data, make_net)
        ted.load_state_dict(state)
        same(ted.state_dict(), state)
        ted.set_epoch(0)
        same(ted.state_dict(), state)
