"""What a sample without a value does in the next epochs, in users' own words."""

from __future__ import annotations

import warnings

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from ted_torch import TED
from torch.utils.data import DataLoader, Dataset, default_collate
from torch_runs import cross_entropy, labelled, opened

import ted_core
from ted_core import EpochError, TedWarning

N = 24


def step(ted, ids, *, weights=None, skip=False, factor=1.0, compiled=False):
    """Take one step of samples whose value is id + 1, and perhaps no backward."""
    z = torch.ones(len(ids), 1, requires_grad=True)

    def total_of(z):
        h = z * (ids[:, None] + 1.0)
        return ted.loss(h.sum(1), mask=h, ids=ids, weights=weights)

    run = torch.compile(total_of, backend="aot_eager") if compiled else total_of
    total = run(z) * factor
    if not skip:
        total.backward()


@pytest.mark.parametrize("compiled", [False, True], ids=["eager", "compiled"])
def test_samples_of_weight_zero_rank_last_whatever_their_old_score(compiled):
    torch.compiler.reset()
    ted, ids = opened(labelled(N)), torch.arange(N)
    step(ted, ids, compiled=compiled)
    ted.set_epoch(1)
    kept = torch.from_numpy(ted.pruner.plan().order.copy()).long()
    assert int(kept.max()) == N - 1  # the highest score
    step(ted, kept, weights=(kept < 22).float(), compiled=compiled)
    ted.set_epoch(2)
    assert ted.report().weightless.tolist() == [0, 2]
    assert {22, 23}.isdisjoint(ted.pruner.plan().order.tolist())
    assert ted.savings().forwarded == N + len(kept)


def test_a_fifth_of_the_labels_missing_does_not_own_the_budget():
    data = labelled(100)
    labelled_ones = torch.arange(100) % 5 != 0
    ted = TED(data, epochs=10, prune_ratio=0.7, multiple_of=10)
    loader = DataLoader(ted.dataset, batch_size=10, sampler=ted.sampler)
    net = torch.nn.Linear(6, 4)
    for epoch in range(9):
        ted.set_epoch(epoch)
        for ids, (x, y) in loader:
            z = net(x)
            w = labelled_ones[ids].float()
            ted.loss(cross_entropy(z, y), mask=z, ids=ids, weights=w).backward()
        ted.close_epoch()
        plan = ted.pruner.plan() if epoch < 8 else None
        if plan is not None and len(plan) <= 80:
            assert labelled_ones[plan.order.copy()].all()
    assert ted.savings().ratio == pytest.approx(ted.savings().planned_ratio)


def test_a_batch_without_weight_and_one_without_backward_do_not_stop_the_run():
    ted, ids = opened(labelled(N)), torch.arange(N)
    step(ted, ids[:8], weights=torch.zeros(8))
    step(ted, ids[8:12], skip=True)
    step(ted, ids[12:16], factor=float("nan"))
    step(ted, ids[16:])
    ted.set_epoch(1)
    report = ted.report()
    assert report.weightless.tolist() == [8]
    assert report.nonfinite.tolist() == [8]
    assert report.forwarded.tolist() == [N]
    order = ted.pruner.plan().order
    assert (order >= 8).all()


def test_an_epoch_of_weight_zero_alone_says_so_and_does_not_blame_the_mask():
    ted = opened(labelled(N))
    step(ted, torch.arange(N), weights=torch.zeros(N))
    with pytest.raises(EpochError, match="24 with weight 0") as raised:
        ted.set_epoch(1)
    assert "`mask`" not in str(raised.value)


def test_a_forgotten_backward_beside_weight_zero_has_its_own_message():
    ted = opened(labelled(N))
    step(ted, torch.arange(N), weights=(torch.arange(N) < 8).float(), skip=True)
    with pytest.raises(EpochError, match=r"from 8 samples .* 16 more had"):
        ted.set_epoch(1)


class Broken(Dataset):
    """Some files can't be read."""

    def __init__(self, broken):
        self.broken = broken

    def __len__(self):
        return N

    def __getitem__(self, index):
        return None if index in self.broken else torch.full((1,), index + 1.0)


class Collate:
    """Leave out what could not be read, ids and all."""

    def __call__(self, pairs):
        return default_collate([pair for pair in pairs if pair[1] is not None])


def test_files_that_never_come_are_counted_and_rank_first_for_one_more_epoch_only():
    broken = {3, 7, 11}
    ted = TED(Broken(broken), epochs=8, prune_ratio=0.8, multiple_of=4)
    loader = DataLoader(
        ted.dataset, batch_size=4, sampler=ted.sampler, collate_fn=Collate()
    )
    said = []
    for epoch in range(5):
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            ted.set_epoch(epoch)
        said += [str(one.message) for one in caught]
        if epoch == 1:
            assert broken <= set(ted.pruner.plan().order.tolist())
        for ids, x in loader:
            h = torch.ones_like(x, requires_grad=True) * x
            ted.loss(h.sum(1), mask=h, ids=ids).backward()
    assert any("got 3 that were not in two epochs" in text for text in said)
    assert set(ted.report().undelivered_ids.tolist()) >= broken
    # At the median they take part, but do not own the budget.
    first = ted.pruner.plan().order
    assert np.isin([22, 23], first).all()


def test_a_mixup_partner_may_come_any_number_of_times():
    ted = opened(labelled(600))
    ids = torch.arange(600)
    z = torch.ones(600, 1, requires_grad=True)
    h = z * (ids[:, None] + 1.0)
    pairs = [(ids, 0.75), (torch.zeros_like(ids), 0.25)]
    ted.loss(h.sum(1), mask=h, ids=pairs).backward()
    ted.set_epoch(1)
    values = ids.numpy() + 1.0
    # Sample 0 comes 601 times: once as itself.
    want = (0.75 * 1 + 0.25 * values.sum()) / (0.75 + 150)
    np.testing.assert_allclose(ted.pruner.scores[0], want, rtol=1e-5)
    np.testing.assert_allclose(ted.pruner.scores[1:], values[1:], rtol=1e-5)
    assert ted.report().forwarded.tolist() == [600]


def test_pairs_of_a_loader_that_shuffles_by_itself_are_held_against_the_plan():
    ted, net = TED(labelled(40), epochs=5, prune_ratio=0.6), torch.nn.Linear(6, 4)
    loader = DataLoader(ted.dataset, batch_size=8, shuffle=True)
    with pytest.raises(EpochError, match=r"does not ask `ted\.sampler`"):  # noqa: PT012
        for epoch in range(5):
            with warnings.catch_warnings():
                warnings.simplefilter("ignore", TedWarning)
                ted.set_epoch(epoch)
            for ids, (x, y) in loader:
                z = net(x)
                pairs = [(ids, 0.6), (ids.flip(0), 0.4)]
                ted.loss(cross_entropy(z, y), mask=z, ids=pairs).backward()


class Counting(Dataset):
    """Count what was read."""

    def __init__(self, n):
        self.read = np.zeros(n, np.int64)

    def __len__(self):
        return self.read.size

    def __getitem__(self, index):
        self.read[index] += 1
        return torch.full((2,), float(index + 1))


@settings(deadline=None, max_examples=60)
@given(data=st.data())
@pytest.mark.filterwarnings("ignore::ted_core.TedWarning")
def test_forwarded_is_what_a_counting_data_set_saw(data):
    draw = data.draw
    n, batch = draw(st.integers(8, 60)), draw(st.integers(1, 9))
    replicas = draw(st.integers(1, 3))
    rank = draw(st.integers(0, replicas - 1))
    counting = Counting(n)
    ted = TED(
        counting,
        epochs=5,
        prune_ratio=draw(st.sampled_from([0.0, 0.5, 0.8])),
        num_replicas=replicas,
        rank=rank,
        strategy=draw(st.sampled_from([ted_core.TopScore(), ted_core.Random()])),
        seed=draw(st.integers(0, 9)),
    )
    loader = DataLoader(ted.dataset, batch_size=batch, sampler=ted.sampler)
    for epoch in range(draw(st.integers(1, 5))):
        ted.set_epoch(epoch)
        stop = draw(st.none() | st.integers(1, 5))
        kind = draw(st.sampled_from(["plain", "pairs", "weights", "twice"]))
        for done, (ids, x) in enumerate(loader, start=1):
            for _ in range(2 if kind == "twice" else 1):
                h = torch.ones_like(x, requires_grad=True) * x
                weights, given_ids = None, ids
                if kind == "weights":
                    weights = (torch.arange(len(ids)) > 0).float()
                    weights[-1] = 1
                if kind == "pairs":
                    given_ids = [(ids, 0.6), (ids.flip(0), 0.4)]
                ted.loss(h.sum(1), mask=h, ids=given_ids, weights=weights).backward()
            if done == stop:
                break
    ted.finish()
    assert ted.savings().forwarded == counting.read.sum()
    assert ted.savings().planned == (ted.report().planned - ted.report().missing).sum()


@settings(deadline=None, max_examples=100)
@given(
    n=st.integers(20, 120),
    batch=st.integers(1, 7),
    replicas=st.integers(1, 4),
    drop_last=st.booleans(),
    epochs=st.integers(5, 9),
    more=st.integers(0, 4),
    closes=st.booleans(),
)
@pytest.mark.filterwarnings("ignore::ted_core.TedWarning")
def test_the_promised_steps_are_the_loaders_also_of_a_run_that_is_extended(
    *, n, batch, replicas, drop_last, epochs, more, closes
):
    def make(epochs, rank):
        return TED(
            range(n),
            epochs=epochs,
            prune_ratio=0.5,
            num_replicas=replicas,
            rank=rank,
            strategy=ted_core.Random(),
        )

    def go_on(ted):
        loader = DataLoader(
            ted.dataset, batch_size=batch, sampler=ted.sampler, drop_last=drop_last
        )
        steps = 0
        for epoch in range(ted.epoch, ted.pruner.epochs):
            ted.set_epoch(epoch)
            for ids, _ in loader:
                ted.loss(torch.ones(len(ids), requires_grad=True), ids=ids)
                steps += 1
        return steps

    ted = make(epochs, replicas - 1)
    try:
        promised = ted.total_steps(batch, drop_last=drop_last)
    except ValueError:  # an epoch without a whole batch
        assert drop_last
        return
    steps = go_on(ted)
    assert steps == promised
    if closes:
        ted.close_epoch()
    ted.finish()
    assert ted.total_steps(batch, drop_last=drop_last) == steps
    longer = make(epochs + more, 0)
    longer.load_state_dict(ted.state_dict(), allow=["epochs"])
    try:
        promised = longer.total_steps(batch, drop_last=drop_last)
    except ValueError:
        assert drop_last
        return
    assert promised == steps + go_on(longer)
    assert len(longer.pruner.schedule_table()) == epochs + more
