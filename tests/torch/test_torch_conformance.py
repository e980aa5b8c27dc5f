from __future__ import annotations

import io

import numpy as np
import pytest
import torch
from ted_torch import TED
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

from ted_core.testing import (
    CHECKS,
    PAIRS,
    SIGNAL_PAIRS,
    ConformanceError,
    check_resume,
    trains_or_refuses,
)

LOSS_PAIRS = {
    name: run for name, run in SIGNAL_PAIRS.items() if run["signal"] == "loss"
}


class TorchAdapter:
    """TED for PyTorch as the suite drives it, in the shape of its users' loops.

    Sample k's logit is a parameter of its own, and its loss the logit: the value is
    |h_k|. In float64, so that dividing by c_k leaves each float32 as it was.
    """

    def start(self, n, *, batch_size, **options):
        self.net, self.batch_size = nn.Embedding(n, 1, dtype=torch.float64), batch_size
        self.ted = TED(TensorDataset(torch.arange(n)), **options)
        self.loader = DataLoader(
            self.ted.dataset, batch_size=batch_size, sampler=self.ted.sampler
        )
        self.batches = None

    def step(self, ids, x):
        h = self.net(x)
        losses = 3 + h.squeeze(1)
        return self.ted.loss(losses, mask=h, ids=ids), losses.mean()

    def run_epoch(self, epoch, values, *, steps=None):
        self.ted.set_epoch(epoch)
        if self.batches is None:
            self.batches = iter(self.loader)
        signs = 1 - 2 * (np.arange(values.size) % 2)
        with torch.no_grad():
            self.net.weight.copy_(torch.from_numpy(signs * values)[:, None])
        trained = []
        for ids, (x,) in self.batches:
            total, mean = self.step(ids, x)
            total.backward()
            self.scale = (total / mean).item()
            trained.append(ids.numpy())
            if len(trained) == steps:
                return trained
        self.batches = None
        return trained

    def finish(self):
        self.ted.finish()

    def total_steps(self):
        return self.ted.total_steps(self.batch_size)

    def loss_scale(self):
        return self.scale

    def save(self):
        file = io.BytesIO()
        torch.save(self.ted.state_dict(), file)
        return file.getvalue()

    def restore(self, saved):
        self.ted.load_state_dict(torch.load(io.BytesIO(saved), weights_only=True))
        self.batches = None

    def core_state(self):
        return self.ted.pruner.state_dict()


class Inner(TorchAdapter):
    """The mask before the losses are there."""

    def step(self, ids, x):
        h = self.ted.mask(self.net(x), ids=ids)
        losses = 3 + h.squeeze(1)
        return self.ted.loss(losses, ids=ids), losses.mean()


class Accumulates(TorchAdapter):
    """The total divided and multiplied, as accumulation and loss scales do."""

    def step(self, ids, x):
        total, mean = super().step(ids, x)
        return total * 1024 / 3, mean * 1024 / 3


class Resaves(TorchAdapter):
    """Saved and restored at once wherever an epoch is interrupted."""

    def run_epoch(self, epoch, values, *, steps=None):
        trained = super().run_epoch(epoch, values, steps=steps)
        self.restore(self.save())
        return trained


@pytest.mark.parametrize("name", CHECKS)
@pytest.mark.parametrize("adapter", [TorchAdapter, Inner, Accumulates, Resaves])
def test_the_session_conforms(adapter, name):
    CHECKS[name](adapter)


@pytest.mark.parametrize(
    ("adapter", "every"), [(TorchAdapter, 1), (Inner, 7), (Accumulates, 7)]
)
def test_the_session_may_be_saved_at_every_step(adapter, every):
    check_resume(adapter, every=every)


class Ranked(TorchAdapter):
    """Ranked by the loss, which here is the value itself."""

    def step(self, ids, x):
        losses = self.net(x).abs().squeeze(1)
        return self.ted.loss(losses, ids=ids), losses.mean()


@pytest.mark.parametrize("name", PAIRS)
def test_every_strategy_trains_with_every_schedule(name):
    assert trains_or_refuses(TorchAdapter, PAIRS[name])


@pytest.mark.parametrize("name", LOSS_PAIRS)
def test_every_strategy_trains_with_the_loss(name):
    assert trains_or_refuses(Ranked, LOSS_PAIRS[name])


@pytest.mark.parametrize("name", ["UCB x forgetting", "InfoBatch x forgetting"])
def test_pairs_without_meaning_are_refused(name):
    assert not trains_or_refuses(TorchAdapter, SIGNAL_PAIRS[name])


class ForgetsTheScale(TorchAdapter):
    """Takes the mean of the losses itself, beside the total that records."""

    def step(self, ids, x):
        total, mean = super().step(ids, x)
        return total * (mean / total).detach(), mean


def test_the_suite_finds_a_step_without_the_factor():
    with pytest.raises(ConformanceError, match="the loss must be scaled"):
        CHECKS["every_epoch_trains_as_planned"](ForgetsTheScale)
