from __future__ import annotations

import pytest
import torch
from ted_torch import TED
from ted_torch.integrations.torchdata import stateful_loader
from torch import nn
from torch.utils.data import BatchSampler
from torch_items import Asked, StatefulNoise, as_tuple
from torch_runs import CLASSES, FEATURES, cross_entropy, labelled
from torchdata.stateful_dataloader import StatefulDataLoader
from torchdata.stateful_dataloader.sampler import BatchSampler as StatefulBatchSampler
from workers import WORKERS

from ted_core import CheckpointError, TedWarning

N, EPOCHS, BATCH = 40, 5, 4


def start(make=stateful_loader, data=None, **loading):
    """Give a session with its loader, network and optimizer."""
    options = {"prune_ratio": 0.6, "signal": "mask_gradient", "seed": 3}
    ted = TED(labelled(N) if data is None else data, epochs=EPOCHS, **options)
    loading = {"batch_size": BATCH, **loading} if "sampler" not in loading else loading
    loader = make(ted, **loading)
    torch.manual_seed(0)
    net = nn.Linear(FEATURES, CLASSES)
    return ted, loader, net, torch.optim.SGD(net.parameters(), lr=0.2, momentum=0.9)


def batched(sampler):
    """Give a function that makes a loader around a batch sampler of a class."""

    def make(ted, **loading):
        del loading["batch_size"]
        batches = sampler(ted.sampler, BATCH, drop_last=False)
        return StatefulDataLoader(ted.dataset, batch_sampler=batches, **loading)

    return make


def steps(ted, loader, net, optimizer, *, stop=None):
    seen = []
    for ids, (x, y) in loader:
        optimizer.zero_grad()
        z = net(x)
        ted.loss(cross_entropy(z, y), mask=z, ids=ids).backward()
        optimizer.step()
        seen.append(ids.tolist())
        if len(seen) == stop:
            break
    return seen


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
    return ted.pruner.scores.tobytes(), ted.pruner.report().missing.tolist(), weights


def halfway(stop, **options):
    """Train into epoch 2 and give its batches so far, and all states."""
    session = start(**options)
    go_on(session, until=2)
    session[0].set_epoch(2)
    head = steps(*session, stop=stop)
    return head, [part.state_dict() for part in session]


@pytest.fixture(scope="module")
def whole():
    session = start()
    return go_on(session), outcome(session)


def resumed(head, states, *, with_loader, **options):
    """Load the states into new objects and train to the end."""
    session = start(**options)
    for part, state in zip(session, states, strict=True):
        if with_loader or part is not session[1]:
            part.load_state_dict(state)
    tail = go_on(session)
    return [head + tail[0], *tail[1:]], outcome(session)


@pytest.mark.parametrize("with_loader", [False, True], ids=["session", "both"])
@pytest.mark.parametrize("stop", [1, 3, None], ids=["first", "third", "last"])
@pytest.mark.parametrize(
    "options",
    [
        {},
        {"snapshot_every_n_steps": 2},
        WORKERS,
        {**WORKERS, "snapshot_every_n_steps": 2, "prefetch_factor": 3},
        {**WORKERS, "persistent_workers": True},
        {"make": batched(StatefulBatchSampler)},
    ],
    ids=["here", "snapshots", "workers", "both", "persistent", "batches"],
)
def test_an_epoch_goes_on_bit_for_bit(whole, options, stop, with_loader):
    orders, end = whole
    head, states = halfway(stop, **options)
    found, ended = resumed(head, states, with_loader=with_loader, **options)
    assert found[0] == orders[2]
    assert (found[1:], ended) == (orders[3:], end)


@pytest.mark.parametrize("loading", [{}, WORKERS], ids=["here", "workers"])
def test_a_batch_sampler_without_a_state_is_warned_of(loading):
    options = {"make": batched(BatchSampler), **loading}
    head, states = halfway(2, **options)
    with pytest.warns(TedWarning, match=r"its batch sampler must have one too"):
        resumed(head, states, with_loader=True, **options)


def test_a_batch_sampler_without_a_state_goes_on_by_the_session_alone(whole):
    options = {"make": batched(BatchSampler)}
    head, states = halfway(2, **options)
    found, ended = resumed(head, states, with_loader=False, **options)
    assert (found, ended) == (whole[0][2:], whole[1])


@pytest.mark.parametrize("epoch", [0, 2])
def test_a_loaders_state_without_the_sessions_is_refused(epoch):
    session = start()
    go_on(session, until=epoch)
    session[0].set_epoch(epoch)
    steps(*session, stop=2)
    again = start()
    again[1].load_state_dict(session[1].state_dict())
    again[0].set_epoch(0)
    says = f"of epoch 0 and place 0, got epoch {epoch} and place 8; load the session's"
    with pytest.raises(CheckpointError, match=says):
        steps(*again)


@pytest.mark.parametrize("loading", [{}, WORKERS], ids=["here", "workers"])
def test_a_data_sets_own_state_comes_along(loading):
    session = start(data=StatefulNoise(N), **loading)
    session[0].set_epoch(0)
    want = [x.tolist() for _, (x, _) in session[1]]

    begun = start(data=StatefulNoise(N), **loading)
    begun[0].set_epoch(0)
    steps(*begun, stop=3)
    states = [part.state_dict() for part in begun]
    again = start(data=StatefulNoise(N), **loading)
    for part, state in zip(again, states, strict=True):
        part.load_state_dict(state)
    again[0].set_epoch(0)
    assert [x.tolist() for _, (x, _) in again[1]] == want[3:]


@pytest.mark.parametrize("given", ["sampler", "batch_sampler", "dataset", "shuffle"])
def test_another_sampler_or_data_set_is_refused(given):
    ted = start()[0]
    with pytest.raises((TypeError, ValueError), match=given):
        stateful_loader(ted, **{given: [1]})


def test_the_loader_reads_the_plan_and_the_rate_ends_with_the_run():
    data = Asked(N, as_tuple)
    ted, loader, net, optimizer = start(data=data)
    total = ted.total_steps(BATCH)
    rate = torch.optim.lr_scheduler.PolynomialLR(optimizer, total)
    optimizer.register_step_post_hook(lambda *_: rate.step())
    planned = []
    for epoch in range(EPOCHS):
        ted.set_epoch(epoch)
        planned += ted.pruner.plan().order.tolist()
        steps(ted, loader, net, optimizer)
    ted.finish()
    assert data.ids == planned
    assert len(planned) == ted.savings().forwarded < EPOCHS * N
    assert (rate.last_epoch, rate.get_last_lr()) == (total, [0.0])
