from __future__ import annotations

import copy

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn
from torch.utils.data import DataLoader
from torch_runs import cross_entropy, labelled, opened, oracle, recorded, two_parts

N = 24
HALF = pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16], ids=str)


def check_against_rounding(values, z, y, eps):
    """Compare with the oracle at these very logits; each gradient was rounded."""
    z = z.detach().double()
    want = oracle(nn.Identity(), nn.Identity(), z, y)
    slopes = torch.softmax(z, 1)
    slopes[torch.arange(len(y)), y] -= 1
    bound = eps * (z * slopes).abs().sum(1) + 1e-5
    assert ((values - want).abs() <= bound).all()


@HALF
@settings(max_examples=15, deadline=None)
@given(size=st.integers(1, N), seed=st.integers(0, 99), inner=st.booleans())
def test_values_under_autocast_are_the_oracles_up_to_the_gradients_rounding(
    dtype, size, seed, inner
):
    data, parts = labelled(N, seed=seed), two_parts(seed)
    ted, (x, y) = opened(data), data.tensors
    # Float16 holds the gradients only if they are scaled, as GradScaler does.
    scale = 2.0**10 if dtype == torch.float16 else 1.0
    logits = []
    for ids in torch.arange(N).split(size):
        with torch.autocast("cpu", dtype=dtype):
            z = nn.Sequential(*parts)(x[ids])
            assert z.dtype == dtype
            if inner:
                z = ted.mask(z, ids=ids)
            losses = cross_entropy(z, y[ids])
            total = ted.loss(losses, mask=None if inner else z, ids=ids)
        (total * scale).backward()
        logits.append(z)
    check_against_rounding(
        recorded(ted), torch.cat(logits), y, 4 * torch.finfo(dtype).eps
    )


@HALF
def test_the_total_of_many_half_losses_is_their_mean(dtype):
    ted = opened(labelled(1000))
    # As float16 the sum of these losses is infinite, their mean is not.
    losses = torch.linspace(50, 150, 1000).to(dtype).requires_grad_()
    total = ted.loss(losses * 1, mask=losses, ids=torch.arange(1000))
    want = losses.detach().double().mean().to(total.dtype)
    eps = torch.finfo(dtype).eps
    torch.testing.assert_close(total.detach(), want, rtol=eps, atol=0)


def train(scaler, *, bad_step=None, epochs=3):
    """Train under float16 autocast; give session, network, ids of the bad step."""
    data, parts = labelled(N), two_parts()
    ted, net = opened(data), nn.Sequential(*parts)
    optimizer = torch.optim.SGD(net.parameters(), lr=0.1)
    bad, step, skipped = [], 0, []
    for epoch in range(epochs):
        ted.set_epoch(epoch)
        for ids, (x, y) in DataLoader(ted.dataset, batch_size=8, sampler=ted.sampler):
            optimizer.zero_grad()
            with torch.autocast("cpu", dtype=torch.float16):
                z = net(x)
                total = ted.loss(cross_entropy(z, y), mask=z, ids=ids)
            if step == bad_step:
                scaler.update(2.0**60)
                bad = ids.tolist()
            before = copy.deepcopy(net.state_dict())
            scaler.scale(total).backward()
            scaler.step(optimizer)
            if all(torch.equal(before[k], v) for k, v in net.state_dict().items()):
                skipped.append(step)
            scaler.update(2.0**8 if step == bad_step else None)
            step += 1
    return ted, bad, skipped


def scaler(scale):
    return torch.amp.GradScaler("cpu", init_scale=scale)


def test_the_loss_scale_of_a_grad_scaler_cancels_bit_for_bit():
    first, _, _ = train(scaler(2.0**8))
    second, _, _ = train(scaler(2.0**12))
    ours, theirs = (ted.pruner.scores.tobytes() for ted in (first, second))
    assert ours == theirs
    assert first.pruner.report().nonfinite.tolist() == [0, 0]


def test_an_overflowed_first_step_is_dropped_counted_and_never_written():
    ted, bad, skipped = train(scaler(2.0**8), bad_step=1, epochs=2)
    plain, _, _ = train(scaler(2.0**8), epochs=1)
    plain.set_epoch(1)
    assert skipped == [1]
    assert ted.pruner.report().nonfinite.tolist() == [8]
    scores = torch.from_numpy(ted.pruner.scores)
    assert scores.isnan().nonzero().ravel().tolist() == sorted(bad)
    assert torch.isfinite(torch.from_numpy(plain.pruner.scores)).all()


def test_an_overflowed_later_step_leaves_the_scores_of_its_samples_as_they_were():
    steps = -(-N // 8)
    ted, bad, skipped = train(scaler(2.0**8), bad_step=steps, epochs=3)
    early, _, _ = train(scaler(2.0**8), epochs=2)
    assert skipped == [steps]
    assert ted.pruner.report().nonfinite.tolist() == [0, 8]
    assert bad
    assert ted.pruner.scores[bad].tolist() == early.pruner.scores[bad].tolist()
    rest = sorted(set(ted.pruner.plan().order.tolist()) - set(bad))
    assert (ted.pruner.scores[rest] != early.pruner.scores[rest]).all()


def test_an_overflow_upstream_of_the_mask_drops_the_step_but_not_the_values():
    data, (before, after) = labelled(N), two_parts()
    ted, (x, y) = opened(data), data.tensors
    h = before(x)
    h.register_hook(lambda grad: grad * float("inf"))
    z = after(h)
    ted.loss(cross_entropy(z, y), mask=z, ids=torch.arange(N)).backward()
    assert not torch.isfinite(before[0].weight.grad).all()
    want = oracle(nn.Sequential(before, after), nn.Identity(), x, y)
    torch.testing.assert_close(recorded(ted), want)
    assert ted.pruner.report().nonfinite.tolist() == [0]


@HALF
def test_a_network_of_half_precision_records_finite_values_in_float32(dtype):
    data, parts = labelled(N), two_parts()
    ted, (x, y) = opened(data), data.tensors
    net = nn.Sequential(*parts).to(dtype)
    z = net(x.to(dtype))
    losses = cross_entropy(z, y)
    assert losses.dtype == dtype
    (ted.loss(losses, mask=z, ids=torch.arange(N)) * 2.0**10).backward()
    check_against_rounding(recorded(ted), z, y, 12 * torch.finfo(dtype).eps)
