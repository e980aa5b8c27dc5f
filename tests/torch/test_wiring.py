"""What a framework or a loop does wrong, and the sentence that names it."""

from __future__ import annotations

import warnings

import pytest
import torch
from ted_torch import TED
from torch.utils.data import DataLoader
from torch_runs import cross_entropy, labelled, opened

import ted_core
from ted_core import CheckpointError, EpochError, TedWarning

N = 40


def start(n=N, **options):
    ted = TED(labelled(n), **{"epochs": 6, "prune_ratio": 0.6, **options})
    return ted, DataLoader(ted.dataset, batch_size=8, sampler=ted.sampler)


def train(ted, loader, net=None, stop=None):
    net = torch.nn.Linear(6, 4) if net is None else net
    for done, (ids, (x, y)) in enumerate(loader, start=1):
        z = net(x)
        ted.loss(cross_entropy(z, y), mask=z, ids=ids).backward()
        if done == stop:
            break


def test_epochs_counted_from_one_are_found_at_the_first():
    ted, _ = start()
    with pytest.raises(ValueError, match="`epoch` must begin at 0, got 1 before any"):
        ted.set_epoch(1)


def test_an_epoch_without_a_sample_says_so_and_names_drop_last():
    ted, _ = start(epochs=10, prune_ratio=0.9)
    big = DataLoader(ted.dataset, batch_size=32, sampler=ted.sampler, drop_last=True)
    with pytest.raises(ValueError, match="`drop_last`"):
        ted.total_steps(32, drop_last=True)
    with pytest.raises(EpochError, match=r"got none of the .*`drop_last=True`"):  # noqa: PT012
        for epoch in range(10):
            ted.set_epoch(epoch)
            train(ted, big)


def test_a_last_batch_of_one_sample_is_warned_of_with_its_epochs_and_the_remedy():
    ted, _ = start(n=128)
    count = len(TED(range(128), epochs=6, prune_ratio=0.6).pruner.plan())
    assert count == 128
    kept = ted.pruner.schedule_table()["kept"]
    batch = int(kept[2]) - 1
    with pytest.warns(TedWarning, match=f"2.*multiple_of={batch}"):
        ted.total_steps(batch)
    whole, _ = start(n=128, multiple_of=16)
    assert whole.total_steps(16) > 0


def test_a_sampler_that_was_replaced_is_found_in_epoch_0():
    ted, _ = start()
    ted.set_epoch(0)
    train(ted, DataLoader(ted.dataset, batch_size=8, shuffle=True))
    with pytest.warns(TedWarning, match="does not ask `ted.sampler`.*Ray"):
        ted.set_epoch(1)


class Endless:
    """Hand out the inner sampler's batches for ever, as timm and Ultralytics do."""

    def __init__(self, inner):
        self.inner = inner

    def __len__(self):
        return len(self.inner)

    def __iter__(self):
        while True:
            yield from iter(self.inner)


def test_a_loader_that_keeps_its_iterator_is_found_in_epoch_0():
    ted, loader = start()
    batches = iter(Endless(loader))
    ids, (x, y) = next(batches)  # it fetches ahead
    ted.set_epoch(0)
    net = torch.nn.Linear(6, 4)
    for _ in range(5):
        z = net(x)
        ted.loss(cross_entropy(z, y), mask=z, ids=ids).backward()
        ids, (x, y) = next(batches)
    with pytest.warns(TedWarning, match="read `ted.sampler` before `set_epoch`"):
        ted.set_epoch(1)


def test_a_loop_over_the_plan_without_any_loader_is_fine():
    ted, _ = start()
    x, y = ted.dataset.dataset.tensors
    net = torch.nn.Linear(6, 4)
    for epoch in range(6):
        ted.set_epoch(epoch)
        order = torch.from_numpy(ted.pruner.plan().order.copy()).long()
        for ids in order.split(8):
            z = net(x[ids])
            ted.loss(cross_entropy(z, y[ids]), mask=z, ids=ids).backward()
    ted.finish()


def test_a_fixed_epoch_length_that_repeats_samples_is_named():
    ted, loader = start()
    ted.set_epoch(0)
    train(ted, loader)
    ted.set_epoch(1)
    train(ted, loader)
    train(ted, loader, stop=1)
    with pytest.warns(TedWarning, match=r"once through its .* `len\(loader\)`"):
        ted.set_epoch(2)


def test_passes_that_are_no_epoch_are_named():
    ted, loader = start()
    ted.set_epoch(0)
    with pytest.raises(EpochError, match="a learning rate finder's"):  # noqa: PT012
        for _ in range(4):
            train(ted, loader)


def test_ids_other_than_the_batchs_are_missed_but_not_another_order_of_its_own():
    for wrong, missing in ((torch.arange, True), (None, False)):
        ted, loader = start()
        ted.set_epoch(0)
        net = torch.nn.Linear(6, 4)
        for ids, (x, y) in loader:
            z = net(x)
            given = wrong(len(ids)) if wrong else ids.flip(0)
            ted.loss(cross_entropy(z, y), mask=z, ids=given).backward()
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            ted.close_epoch()
        said = ["other ids than the batch's" in str(one.message) for one in caught]
        assert said == [True] * missing


def test_a_second_loss_after_one_mask_is_named():
    ted, ids = opened(labelled(8)), torch.arange(8)
    x = ted.mask(torch.ones(8, 3), ids=ids)
    ted.loss(x.sum(1), ids=ids)
    with pytest.raises(ValueError, match="called once for each `mask`, got a second"):
        ted.loss(x.exp().sum(1), ids=ids)


def test_three_losses_a_batch_and_a_look_at_the_data_are_no_forgotten_set_epoch():
    ted, loader = start()
    ted.set_epoch(0)
    list(loader)
    net = torch.nn.Linear(6, 4)
    for ids, (x, y) in loader:
        for _ in range(3):
            z = net(x)
            ted.loss(cross_entropy(z, y), mask=z, ids=ids).backward()
    ted.set_epoch(1)
    assert ted.savings().forwarded == N


def test_an_early_end_and_an_epoch_that_stops_early_warn_with_numbers():
    ted, loader = start()
    ted.set_epoch(0)
    train(ted, loader, stop=2)
    with pytest.warns(
        TedWarning, match="its 40 planned samples, got 16: 24 are missing"
    ):
        ted.set_epoch(1)
    assert ted.savings().ratio == 0  # 24 samples were not saved by this
    ted, loader = start(epochs=5)
    for epoch in range(4):
        ted.set_epoch(epoch)
        train(ted, loader)
    with pytest.warns(TedWarning, match="must have 5 epochs as planned, got 4: 1 more"):
        ted.finish()


METHODS = ("ted", "ted_loss", "soft_margin", "importance", "random")
SIGNALS = ("el2n", "grand", "least_confidence", "forgetting")


@pytest.mark.parametrize("masked", [False, True])
@pytest.mark.parametrize("name", [*METHODS, *SIGNALS])
def test_one_call_serves_every_method(name, masked):
    kind = {"method": name} if name in METHODS else {"signal": name}
    ted, loader = start(epochs=5, prune_ratio=0.5, **kind)
    net = torch.nn.Linear(6, 4)
    for epoch in range(5):
        ted.set_epoch(epoch)
        for ids, (x, y) in loader:
            z = net(x)
            also = {"mask": z} if masked else {}
            ted.loss(
                cross_entropy(z, y), ids=ids, logits=z, labels=y, hidden=x, **also
            ).backward()
    ted.finish()


def test_logits_stand_in_for_the_mask():
    scores = []
    for name in ("mask", "logits"):
        torch.manual_seed(0)
        net = torch.nn.Linear(6, 4)
        ted, loader = start()
        ted.set_epoch(0)
        for ids, (x, y) in loader:
            z = net(x)
            ted.loss(cross_entropy(z, y), ids=ids, **{name: z}).backward()
        ted.set_epoch(1)
        scores.append(ted.pruner.scores.tobytes())
    assert scores[0] == scores[1]
    z = torch.ones(8, 4, requires_grad=True) * 1
    with pytest.raises(ValueError, match="`logits` must have a graph"):
        ted.loss(z.sum(1), ids=torch.arange(8), logits=z.detach())


def test_a_missing_input_names_the_method_and_what_was_typed():
    ted, ids = opened(labelled(8), method="soft_margin"), torch.arange(8)
    z = torch.ones(8, 4, requires_grad=True) * 1
    with pytest.raises(ValueError, match=r'method="soft_margin", got `mask` alone'):
        ted.loss(z.sum(1), mask=z, ids=ids)
    with pytest.raises(TypeError, match=r"`loss` must be given .* got 'label'"):
        ted.loss(z.sum(1), logits=z, ids=ids, label=ids)


@pytest.mark.parametrize("signal", ["margin", "least_confidence", "el2n", "forgetting"])
def test_one_logit_of_a_binary_head_is_refused(signal):
    ted, ids = opened(labelled(8), signal=signal), torch.arange(8)
    z = torch.ones(8, 1, requires_grad=True) * 1
    with pytest.raises(ValueError, match="`logits` must have at least 2 classes"):
        ted.loss(z.sum(1), ids=ids, logits=z, labels=torch.zeros(8, dtype=torch.int64))


@pytest.mark.parametrize("dtype", [torch.uint16, torch.uint32, torch.uint64])
def test_unsigned_ids_are_served(dtype):
    ted = opened(labelled(8))
    z = torch.ones(8, 4, requires_grad=True) * 1
    ted.loss(z.exp().sum(1), ids=torch.arange(8).to(dtype), mask=z).backward()
    ted.set_epoch(1)
    with pytest.raises(ValueError, match=r"`ids` must be in \[0, 8\), got 9"):
        ted.loss(z.sum(1)[:1], ids=torch.tensor([9]).to(dtype), mask=z[:1])


def test_meta_tensors_are_refused_by_name():
    ted = opened(labelled(8))
    z = torch.ones(8, 4, requires_grad=True) * 1
    with pytest.raises(TypeError, match="`ids` must hold numbers, got a meta tensor"):
        ted.loss(z.sum(1), mask=z, ids=torch.arange(8, device="meta"))
    z = torch.ones(8, 4, requires_grad=True, device="meta")
    with pytest.raises(TypeError, match="`losses` must hold numbers, got a meta"):
        ted.loss(z.sum(1), mask=z, ids=torch.arange(8))


def test_weights_of_a_strategy_stand_where_the_losses_are():
    options = {"epochs": 5, "strategy": ted_core.InfoBatch(), "buffer": "cpu"}
    ted, loader = start(**options)
    ted.set_epoch(0)
    net = torch.nn.Linear(6, 4)
    for ids, (x, y) in loader:
        z = net(x)
        ted.loss(cross_entropy(z, y), mask=z, ids=ids).backward()
    ted.close_epoch()
    away = TED(labelled(N), prune_ratio=0.6, device="meta", **options)
    away.load_state_dict(ted.state_dict())
    away.set_epoch(1)
    assert away.pruner.plan().weights is not None
    with torch.device("meta"):
        z = torch.ones(8, 4, requires_grad=True) * 1
        total = away.loss(z.sum(1), mask=z, ids=torch.arange(8))
    assert total.device.type == "meta"
    total.backward()


def test_a_finished_run_goes_on_with_more_epochs_and_an_open_one_says_how():
    ted, loader = start(epochs=5)
    for epoch in range(5):
        ted.set_epoch(epoch)
        train(ted, loader)
    longer, more = start(epochs=8)
    with pytest.raises(CheckpointError, match=r"call `ted.close_epoch\(\)`"):
        longer.load_state_dict(ted.state_dict(), allow=["epochs"])
    assert longer.epoch == 0
    ted.close_epoch()
    states = [ted.state_dict()]
    ted.finish()
    states.append(ted.state_dict())
    same, _ = start(epochs=5)
    same.load_state_dict(states[1])
    with pytest.raises(EpochError, match=r"a run finished at 5; .* more epochs"):
        same.set_epoch(same.epoch)
    for state in states:
        longer, more = start(epochs=8)
        longer.load_state_dict(state, allow=["epochs"])
        assert longer.epoch == 5
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            for epoch in range(longer.epoch, 8):
                longer.set_epoch(epoch)
                train(longer, more)
            longer.finish()
        assert longer.report().planned.size == 8


def test_close_epoch_is_what_set_epoch_of_the_next_does_and_harmless_when_repeated():
    scores = []
    for closes in (False, True):
        torch.manual_seed(0)
        net = torch.nn.Linear(6, 4)
        ted, loader = start()
        for epoch in range(6):
            ted.set_epoch(epoch)
            train(ted, loader, net)
            if closes:
                ted.close_epoch()
                ted.close_epoch()
                assert ted.epoch == epoch + 1
        ted.finish()
        scores.append((ted.pruner.scores.tobytes(), ted.report().observed.tolist()))
    assert scores[0] == scores[1]
