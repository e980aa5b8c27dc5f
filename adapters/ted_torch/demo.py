"""The demo of PyTorch, a plug-in of the core's: ``python -m ted_torch.demo``.

The core compares the variants (`ted_core.demo.engine`); here is how PyTorch trains one.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812 - PyTorch's own habit
from torch.utils.data import DataLoader, Dataset

from ted_core.demo import engine
from ted_core.demo.datasets import Images
from ted_core.demo.results import Settings as CoreSettings
from ted_core.strategies import Strategy, TopScore
from ted_torch.session import TED

__all__ = ["main"]

Batch = tuple[Tensor, Tensor]

_SHIFT = 4
_TEST_BATCH = 500


class Pictures(Dataset[Batch]):
    """Pictures kept as bytes on a device, standardised and augmented by the batch.

    With a seed, pictures are cropped within a margin of 4 black pixels and flipped.
    """

    def __init__(
        self,
        x: NDArray[np.uint8],
        y: NDArray[np.int64],
        *,
        mean: NDArray[np.float64],
        sd: NDArray[np.float64],
        device: torch.device | str = "cpu",
        seed: int | None = None,
    ) -> None:
        margin = 0 if seed is None else _SHIFT
        pixels = x.reshape(*x.shape[:3], -1)
        sides = ((0, 0), (margin, margin), (margin, margin), (0, 0))
        self._x = torch.as_tensor(np.pad(pixels, sides), device=device)
        self._y = torch.as_tensor(y, device=device)
        self._mean = torch.as_tensor(mean, dtype=torch.float32, device=device)
        self._sd = torch.as_tensor(sd, dtype=torch.float32, device=device)
        self._rows = torch.arange(x.shape[1], device=device)
        self._columns = torch.arange(x.shape[2], device=device)
        self._generator = None if seed is None else torch.Generator().manual_seed(seed)

    def __len__(self) -> int:
        """Count the pictures."""
        return len(self._y)

    def __getitems__(self, indices: Sequence[int]) -> list[Batch]:
        """Return one batch, as many times as it has samples."""
        # Loaders ask for items, as `ted_torch.WithIds` does; `collate_fn` takes one.
        return [self.take(torch.tensor(indices))] * len(indices)

    def take(self, ids: Tensor) -> Batch:
        """Return these pictures, (B, C, H, W) channels last, and their classes."""
        ids = ids.to(self._x.device)
        pixels = self._x[ids] if self._generator is None else self._augment(ids)
        x = (pixels.float() - self._mean) / self._sd
        return x.permute(0, 3, 1, 2), self._y[ids]

    def _augment(self, ids: Tensor) -> Tensor:
        high = torch.tensor([2 * _SHIFT + 1, 2 * _SHIFT + 1, 2])
        drawn = torch.rand((len(ids), 3), generator=self._generator) * high
        down, right, flip = drawn.long().to(ids.device).T
        flipped = torch.where(flip[:, None] == 1, self._columns.flip(0), self._columns)
        columns = flipped + right.unsqueeze(1)
        rows = self._rows + down.unsqueeze(1)
        return self._x[ids[:, None, None], rows[:, :, None], columns[:, None, :]]


def make_network(
    *, channels: int, side: int, classes: int, width: int, seed: int
) -> nn.Sequential:
    """Return the demos' network; see `ted_core.demo.engine.stage_channels`."""
    with torch.random.fork_rng(devices=[]):  # PyTorch's own generator stays as it was
        torch.manual_seed(seed)
        layers: list[nn.Module] = []
        inputs = channels
        for outputs in engine.stage_channels(side, width):
            layers += [
                nn.Conv2d(inputs, outputs, 3, padding=1, bias=False),
                nn.BatchNorm2d(outputs),
                nn.ReLU(),
                nn.MaxPool2d(2),
            ]
            inputs = outputs
        head = [nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(inputs, classes)]
        return nn.Sequential(*layers, *head)


@dataclass(frozen=True, kw_only=True)
class Settings(CoreSettings):
    """What a training is made of, and the device to train on."""

    device: str = "cpu"


class Training(engine.Training):
    """A network in training on what TED keeps; without a strategy, a plain loop."""

    def __init__(
        self,
        images: Images,
        settings: Settings,
        *,
        strategy: Strategy | None = None,
        seed: int = 0,
    ) -> None:
        mean, sd = images.moments()
        standard: Any = {"mean": mean, "sd": sd, "device": settings.device}
        augmented = seed if images.channels > 1 else None
        data = Pictures(images.x_train, images.y_train, **standard, seed=augmented)
        self._tests = Pictures(images.x_test, images.y_test, **standard)
        self.network = make_network(
            channels=images.channels,
            side=min(images.x_train.shape[1:3]),
            classes=images.classes,
            width=settings.width,
            seed=seed,
        ).to(settings.device)
        # The pictures come in this format; the network's overload has no type for it.
        self.network.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        size, generator = settings.batch_size, torch.Generator().manual_seed(seed)
        self.ted: TED[Batch] | None = None
        self._loader: DataLoader[Any]
        if strategy is None:
            self._loader = DataLoader(
                data, size, shuffle=True, generator=generator, collate_fn=lambda b: b[0]
            )
            steps = settings.epochs * len(self._loader)
        else:
            self.ted = TED(
                data,
                epochs=settings.epochs,
                prune_ratio=settings.prune_ratio,
                strategy=strategy,
                seed=seed,
                device=settings.device,
            )
            self._loader = DataLoader(
                self.ted.dataset,
                size,
                sampler=self.ted.sampler,
                generator=generator,
                collate_fn=lambda b: (torch.tensor([k for k, _ in b]), b[0][1]),
            )
            steps = self.ted.total_steps(size)
        pruner = None if self.ted is None else self.ted.pruner
        super().__init__(len(data), settings.epochs, pruner)
        self._optimizer = torch.optim.SGD(
            self.network.parameters(),
            lr=settings.learning_rate,
            momentum=settings.momentum,
            nesterov=settings.momentum > 0,
            weight_decay=settings.weight_decay,
        )
        self._scheduler = torch.optim.lr_scheduler.OneCycleLR(
            self._optimizer,
            max_lr=settings.learning_rate,
            total_steps=steps,
            cycle_momentum=False,
        )

    def train_epoch(self) -> int:
        """Train the next epoch: on all data, or on what TED keeps."""
        self.network.train()
        ted, samples = self.ted, 0
        if ted is not None:
            ted.set_epoch(self.epoch)
        for batch in self._loader:
            x, y = batch if ted is None else batch[1]
            logits = self.network(x)
            if ted is None:
                loss = F.cross_entropy(logits, y)
            else:
                losses = F.cross_entropy(logits, y, reduction="none")
                scored = ted.pruner.config.strategy.uses_scores
                loss = ted.loss(losses, ids=batch[0], mask=logits if scored else None)
            self._optimizer.zero_grad()
            torch.autograd.backward(loss)
            self._optimizer.step()
            self._scheduler.step()
            samples += len(y)
        if ted is not None:
            ted.close_epoch()  # here, so that its scores and its time are complete
        # Waits for a device, so that the time includes its work.
        next(self.network.parameters()).detach().sum().item()
        return samples

    @torch.no_grad()
    def accuracy(self) -> float:
        """Return the share of the test pictures that are right."""
        self.network.eval()
        right = 0
        for ids in torch.split(torch.arange(len(self._tests)), _TEST_BATCH):
            x, y = self._tests.take(ids)
            right += int((self.network(x).argmax(dim=1) == y).sum())
        return right / len(self._tests)


def warm_up(images: Images, settings: Settings) -> None:
    """Train one epoch with TED and throw it away."""
    Training(images, settings, strategy=TopScore()).take_turn()


def main(argv: Sequence[str] | None = None) -> int:
    """Run the demonstration, after an epoch that is thrown away."""
    parser = engine.make_image_parser(
        "python -m ted_torch.demo", out="ted_torch_demo.png"
    )
    parser.add_argument("--device", default="cpu", help="where to train (cpu)")
    arguments = parser.parse_args(argv)
    engine.check_arguments(parser, arguments)
    try:
        torch.empty(0, device=arguments.device)
    except (RuntimeError, AssertionError):
        parser.error(f"`--device` must be one that is there, got {arguments.device}")
    threads = torch.get_num_threads()
    torch.set_num_threads(arguments.threads)
    try:
        engine.run_image_demo(
            arguments,
            Training,
            warm_up,
            name="ted_torch.demo",
            versions={"torch": torch.__version__},
            make_settings=partial(Settings, device=arguments.device),
        )
    except (ValueError, TypeError) as error:
        parser.error(str(error))
    finally:
        torch.set_num_threads(threads)
    return 0


if __name__ == "__main__":
    sys.exit(main())
