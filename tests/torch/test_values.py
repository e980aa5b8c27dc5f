from __future__ import annotations

import copy

import numpy as np
import pytest
import torch
from oracles import vector_delta
from ted_torch import TED, EpochBuffer, record, tap
from ted_torch.masks import new_loss_gradient
from torch import nn
from torch.nn import functional as F  # noqa: N812
from torch.utils.data import DataLoader, TensorDataset

import ted_core

N = 23


class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.before = nn.Sequential(nn.Linear(6, 9), nn.Tanh())
        self.after = nn.Linear(9, 4)

    def forward(self, x):
        return self.after(self.before(x))


@pytest.fixture
def net():
    torch.manual_seed(3)
    return Net()


@pytest.fixture
def data():
    generator = torch.Generator().manual_seed(5)
    x = torch.randn(N, 6, generator=generator)
    return TensorDataset(x, torch.randint(0, 4, (N,), generator=generator))


def session(data, **options):
    ted = TED(data, epochs=5, prune_ratio=0.5, **options)
    ted.set_epoch(0)
    return ted


def losses_of(z, y):
    return F.cross_entropy(z, y, reduction="none")


def step(ted, net, ids, x, y):
    z = net(x)
    return ted.loss(losses_of(z, y), mask=z, ids=ids)


def loader(ted, batch_size=8):
    return DataLoader(ted.dataset, batch_size=batch_size, sampler=ted.sampler)


def recorded(ted):
    """Give the scores once epoch 0 closes; Polyak starts at the first value."""
    ted.set_epoch(1)
    return torch.from_numpy(ted.pruner.scores)


def oracle(net, data, site="logits"):
    net = copy.deepcopy(net).double()
    x, y = data.tensors
    before, after = {
        "logits": (net, nn.Identity()),
        "feature": (net.before, net.after),
        "input": (nn.Identity(), net),
    }[site]
    return vector_delta.values(before, after, losses_of, x, y).float()


def test_scores_are_the_oracles_whatever_the_batches_and_the_last_short_one(net, data):
    ted = session(data)
    for ids, (x, y) in loader(ted):
        step(ted, net, ids, x, y).backward()
    torch.testing.assert_close(recorded(ted), oracle(net, data))


def test_accumulation_a_sum_reduction_and_a_loss_scale_cancel(net, data):
    ted = session(data)
    total = 0
    for ids, (x, y) in loader(ted):
        total = total + step(ted, net, ids, x, y) * len(ids) * 1024 / 3
    total.backward()
    torch.testing.assert_close(recorded(ted), oracle(net, data))


def test_weights_cancel_and_a_weight_of_zero_is_no_observation(net, data):
    ted = session(data)
    weights = torch.linspace(0, 2, N)
    for ids, (x, y) in loader(ted):
        z = net(x)
        ted.loss(losses_of(z, y), mask=z, ids=ids, weights=weights[ids]).backward()
    scores = recorded(ted)
    torch.testing.assert_close(scores[1:], oracle(net, data)[1:])
    assert scores[0].isnan()
    assert ted.report().missing.tolist() == [0]
    assert ted.report().weightless.tolist() == [1]


@pytest.mark.parametrize("site", ["feature", "input"])
def test_an_inner_mask_is_exact_and_leaves_the_parameters_gradients(net, data, site):
    ted = session(data)
    plain = copy.deepcopy(net)
    for ids, (x, y) in loader(ted):
        if site == "input":
            z = net(ted.mask(x, ids=ids))
        else:
            z = net.after(ted.mask(net.before(x), ids=ids))
        ted.loss(losses_of(z, y), ids=ids).backward()
        losses_of(plain(x), y).mean().backward()
        assert x.grad is None
    for ours, theirs in zip(net.parameters(), plain.parameters(), strict=True):
        torch.testing.assert_close(ours.grad, theirs.grad)
    torch.testing.assert_close(recorded(ted), oracle(net, data, site))


def test_dense_losses_are_averaged_over_each_sample(data):
    torch.manual_seed(0)
    head, targets = nn.Linear(6, 5), torch.randn(N, 5)
    ted = session(data)
    for ids, (x, _) in loader(ted):
        z = head(x)
        ted.loss((z - targets[ids]) ** 2, mask=z, ids=ids).backward()
    want = vector_delta.values(
        copy.deepcopy(head).double(),
        nn.Identity(),
        lambda z, y: (z - y) ** 2,
        data.tensors[0],
        targets.double(),
    )
    torch.testing.assert_close(recorded(ted), want.float())


def test_autocast_to_bfloat16_keeps_the_values_within_its_precision(net, data):
    ted = session(data)
    for ids, (x, y) in loader(ted):
        with torch.autocast("cpu", dtype=torch.bfloat16):
            z = net(x)
            assert z.dtype == torch.bfloat16
            total = step(ted, net, ids, x, y)
        total.backward()
    torch.testing.assert_close(recorded(ted), oracle(net, data), rtol=0.1, atol=0.02)


def test_values_of_an_overflowed_step_are_dropped_and_counted(net, data):
    ted = session(data)
    bad = None
    for ids, (x, y) in loader(ted):
        total = step(ted, net, ids, x, y)
        (total * float("inf") if bad is None else total).backward()
        bad = ids if bad is None else bad
    scores = recorded(ted)
    assert ted.pruner.report().nonfinite.tolist() == [8]
    assert scores.isnan().nonzero().ravel().tolist() == sorted(bad.tolist())


def test_the_loss_is_the_mean_divided_by_the_keep_ratio(net, data):
    ted = session(data)
    for epoch in range(5):
        ted.set_epoch(epoch)
        scale = ted.pruner.plan().loss_scale
        for ids, (x, y) in loader(ted):
            total = step(ted, net, ids, x, y)
            torch.testing.assert_close(total, losses_of(net(x), y).mean() * scale)
            total.backward()
    assert scale == 1
    ted.finish()
    assert ted.pruner.finished


def test_scale_loss_false_leaves_the_mean_alone(net, data):
    ted = session(data, scale_loss=False)
    for epoch in range(3):
        ted.set_epoch(epoch)
        for ids, (x, y) in loader(ted):
            total = step(ted, net, ids, x, y)
            torch.testing.assert_close(total, losses_of(net(x), y).mean())
            total.backward()
    assert ted.pruner.plan().keep_ratio < 1


def test_an_empty_batch_is_a_batch(net, data):
    ted = session(data)
    x, y = (tensor[:0] for tensor in data.tensors)
    total = step(ted, net, torch.zeros(0, dtype=torch.int64), x, y)
    total.backward()
    assert total.item() == 0


def test_a_sample_seen_twice_counts_once_with_the_mean_of_its_values(net, data):
    ted = session(data)
    iter(ted.sampler)  # the ids are given here
    x, y = data.tensors
    for scale in (1.0, 3.0):
        z = net(x) * scale
        ted.loss(losses_of(z, y), mask=z, ids=torch.arange(N)).backward()
    values = [
        vector_delta.values(
            lambda x, scale=scale: copy.deepcopy(net).double()(x) * scale,
            nn.Identity(),
            losses_of,
            x,
            y,
        )
        for scale in (1.0, 3.0)
    ]
    torch.testing.assert_close(recorded(ted), (sum(values) / 2).float())


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32, torch.bfloat16])
def test_the_hooks_record_the_cores_mask_gradient(dtype):
    generator = torch.Generator().manual_seed(0)
    h, factor = torch.randn(2, 7, 3, 2, generator=generator).to(dtype)
    c, ids = torch.arange(-3, 4), torch.arange(7)
    buffer, loss_gradient = EpochBuffer(7), new_loss_gradient(h, 7)
    h.requires_grad_()
    record(h, buffer.indices(ids), loss_gradient, buffer)
    losses = tap((h * factor).flatten(1).sum(1), loss_gradient)
    gradient = c.to(dtype)[:, None, None] * factor
    (losses * c.to(dtype)).sum().backward()
    core = ted_core.mask_gradient(h.detach(), gradient, loss_gradient=c.to(dtype))
    assert core.isnan().tolist() == [k == 3 for k in range(7)]
    torch.testing.assert_close(buffer.sums[:7], core.nan_to_num().float())
    assert buffer.counts.tolist() == [1, 1, 1, 0, 1, 1, 1, 0]


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize(
    "shape", [(3, 5, 100_003), (2, 400_001), (301, 1009), (2, 1, 300, 1000), (3, 7, 9)]
)
def test_values_of_many_numbers_a_sample_are_the_oracles(shape, dtype):
    generator = torch.Generator().manual_seed(len(shape))
    h, factor = torch.randn(2, *shape, generator=generator).to(dtype)
    ted = session(range(shape[0]))
    z = h.clone().requires_grad_()
    # The gradient lies in memory the other way round, as of losses of `logits.mT`.
    products = (z.mT * factor.mT.contiguous()) if z.ndim > 2 else z * factor
    losses = products.float().flatten(1).mean(1)
    ted.loss(losses, mask=z, ids=torch.arange(shape[0])).backward()
    terms = shape[0] * (h.double() * z.grad.double()).flatten(1)
    error = (recorded(ted) - terms.sum(1).abs()).abs()
    assert (error <= 1e-6 * terms.abs().sum(1)).all()


def test_kept_ids_are_those_of_a_pruner_fed_the_same_values(net, data):
    ted = TED(data, epochs=8, prune_ratio=0.7, seed=4)
    pruner = ted_core.Pruner(N, epochs=8, prune_ratio=0.7, seed=4)
    optimizer = torch.optim.SGD(net.parameters(), lr=0.5)
    for epoch in range(8):
        ted.set_epoch(epoch)
        assert ted.sampler.pruner.plan().order.tolist() == pruner.plan().order.tolist()
        for ids, (x, y) in loader(ted):
            optimizer.zero_grad()
            z = net(x)
            z.retain_grad()
            ted.loss(losses_of(z, y), mask=z, ids=ids).backward()
            c = torch.full((len(ids),), pruner.plan().loss_scale / len(ids))
            pruner.observe(ids, ted_core.mask_gradient(z, z.grad, loss_gradient=c))
            optimizer.step()
        pruner.advance()
    ted.finish()
    np.testing.assert_allclose(ted.pruner.scores, pruner.scores, rtol=1e-5)
