from __future__ import annotations

import warnings
from itertools import zip_longest

import pytest
import torch
import torch_items as items
from ted_torch import TED
from torch import nn
from torch.utils.data import BatchSampler, DataLoader
from torch_runs import CLASSES, FEATURES, cross_entropy
from workers import WORKERS

from ted_core import EpochError, TedWarning

N, EPOCHS = 40, 5
OPTIONS = {"epochs": EPOCHS, "prune_ratio": 0.6, "seed": 3}
NOW = {"num_workers": 0}
SPAWN = {"num_workers": 1, "multiprocessing_context": "spawn"}


def start(data=None, *, batched=False, **loading):
    """Give a session with its loader, network and optimizer."""
    ted = TED(items.Items(N) if data is None else data, **OPTIONS)
    if batched:
        sampler = BatchSampler(
            ted.sampler, 6, drop_last=loading.pop("drop_last", False)
        )
        loader = DataLoader(ted.dataset, batch_sampler=sampler, **loading)
    else:
        loader = DataLoader(ted.dataset, batch_size=6, sampler=ted.sampler, **loading)
    torch.manual_seed(0)
    net = nn.Sequential(nn.Linear(FEATURES, 5), nn.ReLU(), nn.Linear(5, CLASSES))
    return ted, loader, net, torch.optim.SGD(net.parameters(), lr=0.2, momentum=0.9)


def steps(ted, loader, net, optimizer, *, stop=None):
    """Train one epoch, or `stop` steps of it; give the batches' ids."""
    seen = []
    for ids, batch in loader:
        optimizer.zero_grad()
        x, y = items.unpack(batch)
        z = net(x)
        ted.loss(cross_entropy(z, y), mask=z, ids=ids).backward()
        optimizer.step()
        seen.append(ids.tolist())
        if len(seen) == stop:
            break
    return seen


def run(data=None, *, until=EPOCHS, **loading):
    """Train to the end; give each epoch's batches, the scores and the weights."""
    session = start(data, **loading)
    seen = go_on(session, until)
    return seen, *outcome(session)


def go_on(session, until=EPOCHS):
    ted, seen = session[0], []
    for epoch in range(ted.epoch, until):
        ted.set_epoch(epoch)
        seen.append(steps(*session))
    if until == EPOCHS:
        ted.finish()
    return seen


def outcome(session):
    ted, _, net, _ = session
    weights = b"".join(p.detach().numpy().tobytes() for p in net.parameters())
    return ted.pruner.scores.tobytes(), weights


@pytest.fixture(scope="module")
def plain():
    return run()


@pytest.mark.parametrize(
    "loading",
    [
        WORKERS,
        {**WORKERS, "persistent_workers": True, "prefetch_factor": 4},
        {**WORKERS, "batched": True},
        {**WORKERS, "in_order": True, "prefetch_factor": 1},
        {"batched": True},
        {"pin_memory": False},
        {**SPAWN, "persistent_workers": True},
    ],
    ids=[
        "workers",
        "persistent",
        "batches",
        "one ahead",
        "batch sampler",
        "pageable",
        "spawn",
    ],
)
def test_a_run_is_bit_for_bit_the_same_whoever_loads(plain, loading):
    assert run(**loading) == plain


@pytest.mark.filterwarnings("ignore:planned samples must be delivered")
@pytest.mark.parametrize("loading", [{}, {"batched": True}], ids=["loader", "batches"])
def test_a_last_short_batch_is_dropped_on_demand_and_never_recorded(loading):
    session = start(drop_last=True, **loading)
    seen = go_on(session)
    assert {len(ids) for epoch in seen for ids in epoch} == {6}
    ted = session[0]
    report = ted.pruner.report()
    assert report.observed.tolist() == [6 * len(epoch) for epoch in seen]
    assert (report.planned - report.observed).tolist() == report.missing.tolist()
    assert sum(map(len, seen)) == ted.total_steps(6, drop_last=True)


@pytest.mark.filterwarnings("ignore:`batch_size` of 6 leaves a last batch of one")
@pytest.mark.parametrize("last", [0.0, 0.02])
def test_the_data_set_is_asked_for_the_plan_and_the_rate_ends_with_the_run(last):
    data = items.Asked(N)
    session = start(data)
    ted, *_, optimizer = session
    total, planned = ted.total_steps(6), []
    rate = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, total, eta_min=last)
    optimizer.register_step_post_hook(lambda *_: rate.step())
    for epoch in range(EPOCHS):
        ted.set_epoch(epoch)
        planned += ted.pruner.plan().order.tolist()
        steps(*session)
    ted.finish()
    assert data.ids == planned
    assert len(planned) == ted.savings().forwarded < EPOCHS * N
    assert rate.last_epoch == total
    assert rate.get_last_lr() == [pytest.approx(last, abs=1e-12)]


@pytest.mark.parametrize("loading", [NOW, WORKERS], ids=["here", "workers"])
def test_iterators_alive_at_once_give_the_same_batches_and_move_nothing(loading):
    ted, loader, *_ = start(**loading)
    ted.set_epoch(0)
    before = ted.state_dict()
    both = zip_longest(iter(loader), iter(loader))
    pairs = [(a[0].tolist(), b[0].tolist()) for a, b in both]
    assert all(a == b for a, b in pairs)
    assert [k for a, _ in pairs for k in a] == ted.pruner.plan().order.tolist()
    after = ted.state_dict()
    assert torch.equal(before["buffer.meters"], after["buffer.meters"])
    assert ted.epoch == 0


def test_an_iterator_of_an_earlier_epoch_goes_on_with_its_own_order():
    session = start()
    ted, loader, *_ = session
    ted.set_epoch(0)
    old, order = iter(loader), ted.pruner.plan().order.tolist()
    # PyTorch's loader asks the sampler for its order at the first batch.
    head = next(old)[0].tolist()
    steps(*session)
    ted.set_epoch(1)
    assert head + [k for ids, _ in old for k in ids.tolist()] == order
    assert [k for ids, _ in loader for k in ids.tolist()] != order


@pytest.mark.parametrize("inner", [1, 3])
@pytest.mark.parametrize(
    "loading",
    [NOW, WORKERS, {**WORKERS, "persistent_workers": True, "prefetch_factor": 3}],
    ids=["here", "workers", "persistent"],
)
def test_a_run_killed_amid_look_ahead_goes_on_bit_for_bit(plain, loading, inner):
    session = start(**loading)
    seen = go_on(session, until=2)
    ted, _, net, optimizer = session
    ted.set_epoch(2)
    head = steps(*session, stop=inner)
    saved = ted.state_dict(), net.state_dict(), optimizer.state_dict()

    again = start(**loading)
    for part, state in zip((again[0], *again[2:]), saved, strict=True):
        part.load_state_dict(state)
    again[0].set_epoch(2)
    assert len(again[1]) == len(plain[0][2]) - inner
    tail = go_on(again)
    assert [*seen, head + tail[0], *tail[1:]] == plain[0]
    assert outcome(again) == plain[1:]


def test_a_run_restored_after_its_last_step_and_finished_keeps_that_epoch(plain):
    session = start()
    ted, _, net, _ = session
    go_on(session, until=EPOCHS - 1)
    ted.set_epoch(EPOCHS - 1)
    steps(*session)
    again = start()
    again[0].load_state_dict(ted.state_dict())
    again[2].load_state_dict(net.state_dict())
    again[0].finish()
    assert again[0].pruner.report().observed.size == EPOCHS
    assert outcome(again) == plain[1:]


@pytest.mark.parametrize(
    ("data", "collate"),
    [
        (items.Items(N, items.in_one), None),
        (items.Items(N, items.as_tuple), None),
        (items.Items(N, items.as_dict), None),
        (items.Items(N, items.Example), items.collate),
        (items.reverse(N), None),
        (items.Rows(N), None),
    ],
    ids=["tensor", "tuple", "dict", "dataclass", "subset", "rows"],
)
def test_a_run_is_the_same_whatever_kind_its_items_are(plain, data, collate):
    ours = run(data, collate_fn=collate)
    if isinstance(data, torch.utils.data.Subset):
        # The same run of a data set made of these very points.
        x, y = (torch.stack(parts) for parts in zip(*data, strict=True))
        assert ours == run(torch.utils.data.TensorDataset(x, y))
    else:
        assert ours == plain


def test_rows_are_asked_for_in_whole_batches_by_workers_too(plain):
    assert run(items.Rows(N), **WORKERS) == plain


def test_pinned_memory_changes_nothing_where_there_is_no_accelerator(plain):
    with warnings.catch_warnings():
        # PyTorch warns that it does not pin, and goes on.
        warnings.filterwarnings("ignore", "'pin_memory' argument is set as true")
        assert run(pin_memory=True) == plain


def test_a_loader_that_was_not_given_the_sampler_does_not_go_unnoticed():
    ted, _, *rest = start()
    loader = DataLoader(ted.dataset, batch_size=6, shuffle=True)
    go_on((ted, loader, *rest), until=1)
    # Epoch 1 prunes: the loader gives out ids that its plan does not keep, and their
    # losses are multiplied by 1 / r_t all the same.
    with pytest.raises((EpochError, TedWarning)):
        go_on((ted, loader, *rest), until=3)
