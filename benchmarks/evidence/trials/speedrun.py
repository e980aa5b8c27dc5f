"""CIFAR-10 in seconds on a GPU: data, augmentation, selection's inputs stay there."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
from ted_torch import TED
from torch import nn
from torch.nn import functional as F  # noqa: N812 - PyTorch's own habit
from trials.training import one_cycle

import ted_core
from ted_core.demo.datasets import load_images

__all__ = ["METHODS", "Bench"]

METHODS = {
    "soft_margin": {"method": "soft_margin"},
    "ted_loss": {"method": "ted_loss"},
    "ted": {"method": "ted"},
    "importance": {"method": "importance"},
    "proxy": {
        "signal": "loss",
        "strategy": ted_core.SoftTop(sharpness=2.0),
        "reduction": ted_core.Last(),
        "proxy": True,
    },
}
"""The session's options by label. With ``proxy`` a small network that learns beside the
large one scores all samples before each epoch."""

MARGIN, CHUNK = 4, 2_000
PROXY_WIDTH = 0.25
"""Of the proxy, of the network's width: near a sixteenth of its operations."""


def speedrun(width, channels=3, classes=10):
    """Return seven convolutions in three stages, max pools, and a linear head."""
    first, *stages = (max(8, int(width * size)) for size in (64, 128, 256, 512))
    layers = [*convolution(channels, first)]
    for inputs, outputs in zip((first, *stages), stages, strict=False):
        layers += [*convolution(inputs, outputs, pool=True)]
        layers += [*convolution(outputs, outputs)]
    layers += [nn.AdaptiveMaxPool2d(1), nn.Flatten(), nn.Linear(stages[-1], classes)]
    return nn.Sequential(*layers).to(memory_format=torch.channels_last)


def convolution(inputs, outputs, *, pool=False):
    """Return a 3 x 3 convolution, a max pool if asked for, batch norm and GELU."""
    yield nn.Conv2d(inputs, outputs, 3, padding=1, bias=False)
    if pool:
        yield nn.MaxPool2d(2)
    yield nn.BatchNorm2d(outputs)
    yield nn.GELU()


class Net:
    """A network that is compiled once and gets new weights for each run."""

    def __init__(self, width, device):
        self.width, self.module = width, speedrun(width).to(device)
        self._device = device
        compiled = device.type == "cuda"
        self._run = torch.compile(self.module) if compiled else self.module

    def reset(self, seed):
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            self.module.load_state_dict(speedrun(self.width).state_dict())
        self.module.train()

    def __call__(self, x):
        half = self._device.type == "cuda"
        with torch.autocast(self._device.type, torch.bfloat16, enabled=half):
            return self._run(x).float()


class Proxied:
    """What `Bench.train` asks of a session, with all scores from `score`."""

    def __init__(self, score, n, **options):
        self._score, self._n = score, n
        self.pruner = ted_core.Pruner(n, **options)
        self.total_steps = self.pruner.total_steps

    @property
    def sampler(self):
        return self.pruner.plan().order

    def set_epoch(self, epoch):
        if epoch:
            self.finish()

    def loss(self, losses, **_):
        return losses.mean() * self.pruner.plan().loss_scale

    def finish(self):
        self.pruner.observe(np.arange(self._n), self._score())
        self.pruner.advance()

    def report(self):
        """Return the counts, the proxy's passes among the samples by their cost."""
        report = self.pruner.report()
        planned = np.asarray(report.planned)
        # It trains on the plan, and goes forward, a third of that, over all samples.
        passes = PROXY_WIDTH**2 * (planned + self._n / 3)
        forwarded = planned + np.rint(passes).astype(np.int64)
        return replace(report, forwarded=tuple(int(count) for count in forwarded))


class Bench:
    """The data on the device, and both networks."""

    def __init__(self, arguments):
        self.device = torch.device(arguments.device)
        self.batch = arguments.batch
        images = load_images(Path(arguments.data_dir) / "cifar10.npz")
        x = self._put(images.x_train[: arguments.samples])
        mean, sd = x.mean((0, 2, 3), keepdim=True), x.std((0, 2, 3), keepdim=True)
        self.x, self.x_test = (x - mean) / sd, (self._put(images.x_test) - mean) / sd
        self.padded = F.pad(self.x, (MARGIN,) * 4, mode="reflect")
        labels = images.y_train[: arguments.samples], images.y_test
        self.y, self.y_test = (
            torch.as_tensor(y, dtype=torch.int64, device=self.device) for y in labels
        )
        self.net = Net(arguments.width, self.device)
        self.proxy = Net(PROXY_WIDTH * arguments.width, self.device)

    def _put(self, pixels):
        x = torch.as_tensor(pixels, device=self.device).permute(0, 3, 1, 2).float()
        return x.contiguous(memory_format=torch.channels_last)

    def train(self, *, seed, lr, epochs, proxy=False, **options):
        """Train one network; return its accuracy in % and the session."""
        options |= {"epochs": epochs, "seed": seed, "multiple_of": self.batch}
        nets = [self.net]
        if proxy:
            nets.append(self.proxy)
            ted = Proxied(lambda: self._losses(self.proxy), len(self.y), **options)
        else:
            ted = TED(range(len(self.y)), device=self.device, **options)
        for net in nets:
            net.reset(seed)
        pairs = [(net, self._optimizer(net)) for net in nets]
        dice = torch.Generator(self.device).manual_seed(seed)
        steps, step = ted.total_steps(self.batch), 0
        for epoch in range(epochs):
            ted.set_epoch(epoch)
            order = torch.tensor(list(ted.sampler))
            x = self._augmented(order.to(self.device), dice)
            for ids, part in zip(
                order.split(self.batch), x.split(self.batch), strict=True
            ):
                for _, optimizer in pairs:
                    optimizer.param_groups[0]["lr"] = lr * one_cycle(step / steps)
                self._step(ted, pairs, ids, part)
                step += 1
        ted.finish()
        return self._accuracy(), ted

    def _optimizer(self, net):
        options = {"momentum": 0.9, "nesterov": True, "weight_decay": 5e-4}
        fused = self.device.type == "cuda"
        return torch.optim.SGD(net.module.parameters(), fused=fused, **options)

    def _step(self, ted, pairs, ids, x):
        y = self.y[ids.to(self.device)]
        for net, optimizer in pairs:
            logits = net(x)
            losses = F.cross_entropy(logits, y, reduction="none")
            if net is self.net:
                loss = ted.loss(losses, ids=ids, logits=logits, labels=y)
            else:
                loss = losses.mean()
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()

    def _augmented(self, ids, dice):
        """Return the pictures, shifted by up to 4 pixels and mirrored at random."""
        size, side = len(ids), self.x.shape[-1]
        shift = torch.randint(
            0, 2 * MARGIN + 1, (2, size, 1), generator=dice, device=self.device
        )
        flip = torch.randint(0, 2, (size, 1), generator=dice, device=self.device)
        span = torch.arange(side, device=self.device)
        columns = torch.where(flip == 1, span.flip(0), span) + shift[1]
        rows = span + shift[0]
        pixels = self.padded.permute(0, 2, 3, 1)
        x = pixels[ids[:, None, None], rows[:, :, None], columns[:, None, :]]
        return x.permute(0, 3, 1, 2)

    @torch.no_grad()
    def _losses(self, net):
        """Return the losses of all training pictures as they are, float32 NumPy."""
        net.module.eval()
        losses = [
            F.cross_entropy(net(x), y, reduction="none")
            for x, y in zip(self.x.split(CHUNK), self.y.split(CHUNK), strict=True)
        ]
        net.module.train()
        return torch.cat(losses).cpu().numpy()

    @torch.no_grad()
    def _accuracy(self):
        """Return the share of the test pictures that are named rightly, in %."""
        self.net.module.eval()
        right = sum(
            (self.net(x).argmax(1) == y).sum()
            for x, y in zip(
                self.x_test.split(CHUNK), self.y_test.split(CHUNK), strict=True
            )
        )
        return 100 * float(right) / len(self.y_test)
