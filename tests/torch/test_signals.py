from __future__ import annotations

import numpy as np
import pytest
import torch
from ted_torch import TED
from torch import nn
from torch.utils.data import DataLoader
from torch_runs import cross_entropy, labelled, opened

import ted_core

N = 20


def run(ted, *, masked, weights=None):
    data = ted.dataset.dataset
    x, y = data.tensors
    torch.manual_seed(0)
    net = nn.Linear(6, 4)
    for ids in torch.arange(N).split(8):
        z = net(x[ids])
        ted.loss(
            cross_entropy(z, y[ids]),
            mask=z if masked else None,
            ids=ids,
            weights=None if weights is None else weights[ids],
        ).backward()
    ted.set_epoch(1)
    return cross_entropy(net(x), y).detach().numpy()


@pytest.mark.parametrize("masked", [False, True])
def test_the_signal_loss_records_the_unscaled_losses_and_needs_no_mask(masked):
    ted = opened(labelled(N), signal="loss")
    losses = run(ted, masked=masked)
    np.testing.assert_allclose(ted.pruner.scores, losses, rtol=1e-6)


def test_losses_below_zero_keep_their_sign():
    ted = opened(labelled(N), signal="loss")
    losses = torch.linspace(-2, 2, N, requires_grad=True)
    ted.loss(losses, ids=torch.arange(N)).backward()
    ted.set_epoch(1)
    np.testing.assert_allclose(ted.pruner.scores, losses.detach(), atol=1e-6)


def test_a_weight_of_zero_is_no_observation_of_a_loss_either():
    ted = opened(labelled(N), signal="loss")
    weights = torch.ones(N)
    weights[3] = 0
    losses = run(ted, masked=False, weights=weights)
    assert np.isnan(ted.pruner.scores[3])
    np.testing.assert_allclose(np.delete(ted.pruner.scores - losses, 3), 0, atol=1e-6)


def test_a_strategy_that_ranks_nothing_needs_no_mask_and_is_counted():
    data = labelled(N)
    ted = TED(data, epochs=5, prune_ratio=0.5, strategy=ted_core.Random())
    loader = DataLoader(ted.dataset, batch_size=8, sampler=ted.sampler)
    net = nn.Linear(6, 4)
    for epoch in range(5):
        ted.set_epoch(epoch)
        for ids, (x, y) in loader:
            ted.loss(cross_entropy(net(x), y), ids=ids).backward()
    ted.finish()
    assert ted.savings().forwarded == ted.savings().planned < 5 * N


def test_the_mask_gradient_needs_a_mask():
    ted = opened(labelled(N))
    z = torch.ones(2, 4, requires_grad=True) * 1
    with pytest.raises(ValueError, match="`mask` must be a tensor of this forward"):
        ted.loss(z.sum(1), ids=torch.arange(2))


def test_a_buffer_on_the_cpu_records_the_same():
    scores = []
    for buffer in ("cpu", "device"):
        ted = opened(labelled(N), buffer=buffer)
        run(ted, masked=True)
        scores.append(ted.pruner.scores)
    np.testing.assert_array_equal(*scores)
    with pytest.raises(
        ValueError, match="`buffer` must be 'device' or 'cpu', got 'gpu'"
    ):
        TED(labelled(N), epochs=5, buffer="gpu")


NEEDED = {
    "el2n": ("logits", "labels"),
    "grand": ("logits", "labels", "hidden"),
    "margin": ("logits",),
    "least_confidence": ("logits",),
    "forgetting": ("logits", "labels"),
}


def step_inputs(net, x, y):
    z = net(x)
    return z, {"logits": z, "labels": y, "hidden": x}


@pytest.mark.parametrize("name", NEEDED)
@pytest.mark.parametrize("compiled", [False, True])
def test_every_other_signal_has_the_cores_values(name, compiled):
    ted = opened(labelled(N), signal=name)
    x, y = ted.dataset.dataset.tensors
    torch.manual_seed(0)
    net = nn.Linear(6, 4)

    def step(ids):
        z, inputs = step_inputs(net, x[ids], y[ids])
        given = {one: inputs[one] for one in NEEDED[name]}
        ted.loss(cross_entropy(z, y[ids]), ids=ids, **given).backward()

    if compiled:
        torch._dynamo.reset()
        step = torch.compile(step, backend="aot_eager")
    for ids in torch.arange(N).split(10):
        step(ids)
    ted.set_epoch(1)
    arrays = {k: v.detach().numpy() for k, v in step_inputs(net, x, y)[1].items()}
    needed = {one: arrays[one] for one in NEEDED[name]}
    want = ted_core.signals.compute(name, **needed)
    if name == "forgetting":  # counted: nothing was forgotten yet, or never right
        want = np.where(want == 1, 0, np.finfo(np.float32).max)
    np.testing.assert_allclose(ted.pruner.scores, want, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("name", NEEDED)
def test_what_a_signal_needs_is_asked_for_by_name(name):
    ted = opened(labelled(N), signal=name)
    losses = torch.ones(4, requires_grad=True)
    last = NEEDED[name][-1]
    tensors = {"logits": torch.zeros(4, 3), "labels": torch.arange(4) % 3}
    given = {one: tensors[one] for one in NEEDED[name][:-1]}
    with pytest.raises(ValueError, match=f"`{last}` must be given for the signal"):
        ted.loss(losses, ids=torch.arange(4), **given)


def test_a_strategy_that_ranks_nothing_needs_no_inputs():
    ted = opened(labelled(N), signal="el2n", strategy=ted_core.Random())
    losses = torch.ones(4, requires_grad=True)
    ted.loss(losses, ids=torch.arange(4)).backward()
    assert losses.grad is not None
