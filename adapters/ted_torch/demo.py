"""Training of one network, an epoch at a time: in full, or on what TED keeps."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from time import perf_counter, process_time

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812 - PyTorch's own habit
from torch.utils.data import DataLoader, Dataset

from ted_core import demo
from ted_core.demo import (
    Images,
    TimedRun,
    digits_as_images,
    load_images,
    make_record,
    make_result,
    read_runs,
)
from ted_core.demo import cli as arguments
from ted_core.demo.cli import check_arguments, read_images, run_demo
from ted_core.demo.results import VARIANTS
from ted_core.strategies import Strategy, TopScore
from ted_torch.session import TED

__all__ = [
    "Batch",
    "Images",
    "Pictures",
    "Settings",
    "TimedRun",
    "Training",
    "compare",
    "digits_as_images",
    "join",
    "join_with_ids",
    "load_images",
    "main",
    "make_network",
    "make_parser",
    "make_record",
    "make_result",
    "read_runs",
    "warm_up",
]

Batch = tuple[Tensor, Tensor]


_SHIFT = 4


class Pictures(Dataset[Batch]):
    """Pictures kept as bytes on a device, standardised and augmented by the batch.

    Augmentation is a random crop of the picture with a margin of 4 black pixels, and
    a random flip, left for right; each sample gets its own.

    Parameters
    ----------
    x : ndarray of uint8, shape (n, H, W) or (n, H, W, 3)
        Pixels.
    y : ndarray of int64, shape (n,)
        Classes.
    mean, sd : ndarray of float, shape (C,)
        What is taken off each channel, then what divides it.
    device : torch.device or str
        Where the pictures are kept.
    seed : int, optional
        Seed of the augmentation; without it there is none.

    Notes
    -----
    The batch of ``__getitems__`` stands in its list once for each sample, because
    loaders and `ted_torch.WithIds` ask for items; `join` takes it out again.
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
        self._dice = None if seed is None else torch.Generator().manual_seed(seed)

    def __len__(self) -> int:
        """Count the pictures."""
        return len(self._y)

    def __getitem__(self, index: int) -> Batch:
        """Return a picture of shape (C, H, W) and its class."""
        x, y = self.take(torch.tensor([index]))
        return x[0], y[0]

    def __getitems__(self, indices: Sequence[int]) -> list[Batch]:
        """Return one batch, as many times as it has samples."""
        return [self.take(torch.tensor(indices))] * len(indices)

    def take(self, ids: Tensor) -> Batch:
        """Return the pictures of these ids.

        Parameters
        ----------
        ids : Tensor of int64, shape (B,)
            Which ones.

        Returns
        -------
        x : Tensor of float32, shape (B, C, H, W)
            Pictures, standardised, in the channels-last format.
        y : Tensor of int64, shape (B,)
            Classes.
        """
        ids = ids.to(self._x.device)
        pixels = self._x[ids] if self._dice is None else self._augmented(ids)
        x = (pixels.float() - self._mean) / self._sd
        return x.permute(0, 3, 1, 2), self._y[ids]

    def _augmented(self, ids: Tensor) -> Tensor:
        high = torch.tensor([2 * _SHIFT + 1, 2 * _SHIFT + 1, 2])
        drawn = torch.rand((len(ids), 3), generator=self._dice) * high
        down, right, flip = drawn.long().to(ids.device).T
        columns = torch.where(
            flip[:, None] == 1, self._columns.flip(0), self._columns
        ) + right.unsqueeze(1)
        rows = self._rows + down.unsqueeze(1)
        return self._x[ids[:, None, None], rows[:, :, None], columns[:, None, :]]


def join(items: Sequence[Batch]) -> Batch:
    """Return the batch that `Pictures` handed out; a loader's ``collate_fn``.

    Parameters
    ----------
    items : sequence of (Tensor, Tensor)
        One batch, once for each sample.

    Returns
    -------
    tuple of Tensor
        The batch.
    """
    return items[0]


def join_with_ids(items: Sequence[tuple[int, Batch]]) -> tuple[Tensor, Batch]:
    """Return the ids and the batch, with ``ted.dataset`` between; see `join`.

    Parameters
    ----------
    items : sequence of (int, (Tensor, Tensor))
        Ids, each beside the whole batch.

    Returns
    -------
    ids : Tensor of int64, shape (B,)
        Ids.
    batch : tuple of Tensor
        The batch.
    """
    return torch.tensor([k for k, _ in items]), items[0][1]


_DOUBLINGS = 2


def make_network(
    *, channels: int, side: int, classes: int, width: int, seed: int
) -> nn.Sequential:
    """Return a small convolutional network.

    Each stage is a convolution of 3 x 3, batch norm, ReLU, and a max pool that halves
    the side; there are as many as leave at least 4 x 4 places to convolve. The number
    of channels doubles twice, then stays.

    Parameters
    ----------
    channels : int
        Channels of the pictures.
    side : int
        Shorter side of the pictures in pixels, at least 4.
    classes : int
        Logits.
    width : int
        Channels of the first stage.
    seed : int
        Seed of the initial weights. PyTorch's own generator is left as it was.

    Returns
    -------
    torch.nn.Sequential
        Network from (B, channels, height, width) to (B, classes).

    Examples
    --------
    >>> import torch
    >>> from ted_torch.demo import make_network
    >>> network = make_network(channels=3, side=32, classes=10, width=4, seed=0)
    >>> network(torch.zeros(2, 3, 32, 32)).shape
    torch.Size([2, 10])
    """
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        layers: list[nn.Module] = []
        inputs, stage = channels, 0
        while side >= 4:  # noqa: PLR2004 - the docstring's places
            outputs = width * 2 ** min(stage, _DOUBLINGS)
            layers += [
                nn.Conv2d(inputs, outputs, 3, padding=1, bias=False),
                nn.BatchNorm2d(outputs),
                nn.ReLU(),
            ]
            side //= 2
            if side >= 2:  # noqa: PLR2004 - one place is not halved
                layers.append(nn.MaxPool2d(2))
            inputs, stage = outputs, stage + 1
        head = [nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(inputs, classes)]
        return nn.Sequential(*layers, *head)


@dataclass(frozen=True, kw_only=True)
class Settings(demo.Settings):
    """What a training is made of; see `ted_core.demo.Settings`.

    Parameters
    ----------
    device : str, default "cpu"
        Where to train.
    """

    device: str = "cpu"


_TEST_BATCH = 500


class Training:
    """A network in training; each call of `train_epoch` is the next epoch.

    Parameters
    ----------
    images : Images
        Data. RGB pictures are cropped and flipped at random.
    settings : Settings
        Of the training.
    strategy : Strategy, optional
        What TED keeps. Without one, a plain loop over all data in which nothing of
        TED takes part: what a saving is measured against.
    seed : int, default 0
        Seed of weights, order, augmentation and selection.

    Raises
    ------
    TypeError, ValueError
        A setting is out of range.
    """

    def __init__(
        self,
        images: Images,
        settings: Settings,
        *,
        strategy: Strategy | None = None,
        seed: int = 0,
    ) -> None:
        self.settings, self._images = settings, images
        rgb = images.x_train.ndim == 4  # noqa: PLR2004 - channels stand last
        pixels = images.x_train.reshape(-1, 3 if rgb else 1)
        self._scale = {
            "mean": pixels.mean(axis=0),
            "sd": np.maximum(pixels.std(axis=0), 1.0),
        }
        device = settings.device
        data = Pictures(
            images.x_train,
            images.y_train,
            **self._scale,
            device=device,
            seed=seed if rgb else None,
        )
        self.network = make_network(
            channels=3 if rgb else 1,
            side=min(images.x_train.shape[1:3]),
            classes=images.classes,
            width=settings.width,
            seed=seed,
        ).to(device)
        # The pictures come in this format; the network's overload has no type for it.
        self.network.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        size, dice = settings.batch_size, torch.Generator().manual_seed(seed)
        if strategy is None:
            self.ted = None
            self._plain = DataLoader(
                data, size, shuffle=True, generator=dice, collate_fn=join
            )
            steps = settings.epochs * len(self._plain)
        else:
            self.ted = TED(
                data,
                epochs=settings.epochs,
                prune_ratio=settings.prune_ratio,
                strategy=strategy,
                seed=seed,
                device=device,
            )
            self._loader = DataLoader(
                self.ted.dataset,
                size,
                sampler=self.ted.sampler,
                generator=dice,
                collate_fn=join_with_ids,
            )
            steps = self.ted.total_steps(size)
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
        self.epoch_seconds: list[float] = []
        self.epoch_cpu_seconds: list[float] = []
        self.epoch_samples: list[int] = []
        self._scores: list[NDArray[np.float32]] = []

    @property
    def epoch(self) -> int:
        """Epochs trained so far."""
        return len(self.epoch_seconds)

    def train_epoch(self) -> None:
        """Train the next epoch and take its time, planning and closing included."""
        self.network.train()
        begun, cpu = perf_counter(), process_time()
        samples = self._train_in_full() if self.ted is None else self._prune(self.ted)
        # Waits for a device, so that the time is that of the work.
        next(self.network.parameters()).detach().sum().item()
        self.epoch_cpu_seconds.append(process_time() - cpu)
        self.epoch_seconds.append(perf_counter() - begun)
        self.epoch_samples.append(samples)

    def _train_in_full(self) -> int:
        samples = 0
        for x, y in self._plain:
            self._step(F.cross_entropy(self.network(x), y))
            samples += len(y)
        return samples

    def _prune(self, ted: TED[Batch]) -> int:
        samples, ranks = 0, ted.pruner.config.strategy.uses_scores
        ted.set_epoch(self.epoch)
        if self.epoch > 0:
            self._scores.append(ted.pruner.scores)
        for ids, (x, y) in self._loader:
            logits = self.network(x)
            losses = F.cross_entropy(logits, y, reduction="none")
            self._step(ted.loss(losses, mask=logits if ranks else None, ids=ids))
            samples += len(y)
        if self.epoch == self.settings.epochs - 1:
            ted.finish()
            self._scores.append(ted.pruner.scores)
        return samples

    def _step(self, loss: Tensor) -> None:
        self._optimizer.zero_grad()
        torch.autograd.backward(loss)
        self._optimizer.step()
        self._scheduler.step()

    def result(self) -> TimedRun:
        """Return accuracy, counts, times and scores of the epochs so far.

        Returns
        -------
        TimedRun
            What was measured. Without a strategy there are no scores.
        """
        n, ted = len(self._images.y_train), self.ted
        if ted is None:
            visits = np.full(n, self.epoch, dtype=np.uint16)
            forwarded = sum(self.epoch_samples)
        else:
            visits, forwarded = ted.pruner.update_counts, ted.savings().forwarded
        return TimedRun(
            accuracy=self._accuracy(),
            forwarded=forwarded,
            full=n * self.epoch,
            epoch_seconds=list(self.epoch_seconds),
            keep_ratios=[samples / n for samples in self.epoch_samples],
            scores=list(self._scores),
            visits=visits,
            epoch_cpu_seconds=list(self.epoch_cpu_seconds),
            epoch_samples=list(self.epoch_samples),
        )

    @torch.no_grad()
    def _accuracy(self) -> float:
        self.network.eval()
        images = self._images
        tests = Pictures(
            images.x_test, images.y_test, **self._scale, device=self.settings.device
        )
        right = 0
        for ids in torch.split(torch.arange(len(tests)), _TEST_BATCH):
            x, y = tests.take(ids)
            right += int((self.network(x).argmax(dim=1) == y).sum())
        return right / len(tests)


def compare(
    images: Images,
    settings: Settings,
    *,
    seed: int,
    after_epoch: Callable[[], object] = lambda: None,
) -> dict[str, TimedRun]:
    """Train the three variants of one seed, an epoch of each in turn.

    Parameters
    ----------
    images : Images
        Data.
    settings : Settings
        Of all three.
    seed : int
        Seed of all three.
    after_epoch : callable, optional
        Called without arguments after each epoch of each variant.

    Returns
    -------
    dict of str to TimedRun
        One run for each of `VARIANTS`, in that order.

    Notes
    -----
    Who goes first rotates with the epoch and the seed, so that what slows a machine
    down for a while meets all alike.

    Examples
    --------
    >>> from ted_torch.demo import Settings, compare
    >>> from ted_core.demo.datasets import digits_as_images
    >>> settings = Settings(epochs=5, prune_ratio=0.7, batch_size=256, width=4)
    >>> runs = compare(digits_as_images(), settings, seed=0)
    >>> runs["random"].forwarded == runs["TED"].forwarded < runs["full"].forwarded
    True
    """
    trainings = {
        name: Training(images, settings, strategy=strategy, seed=seed)
        for name, strategy in VARIANTS.items()
    }
    names = list(VARIANTS)
    for epoch in range(settings.epochs):
        first = (epoch + seed) % len(names)
        for name in names[first:] + names[:first]:
            trainings[name].train_epoch()
            after_epoch()
    return {name: training.result() for name, training in trainings.items()}


def warm_up(images: Images, settings: Settings) -> None:
    """Train one epoch with TED and throw it away.

    Parameters
    ----------
    images : Images
        Data.
    settings : Settings
        Of the training.
    """
    Training(images, settings, strategy=TopScore()).train_epoch()


def make_parser(program: str) -> argparse.ArgumentParser:
    """Return the parser of the demo's arguments.

    Parameters
    ----------
    program : str
        What the user typed.

    Returns
    -------
    argparse.ArgumentParser
        The parser.

    Examples
    --------
    >>> from ted_torch.demo import make_parser
    >>> make_parser("demo").parse_args(["--seeds", "2"]).device
    'cpu'
    """
    parser = arguments.make_parser(program, out="ted_torch_demo.png")
    parser.add_argument("--device", default="cpu", help="where to train (cpu)")
    return parser


def main(argv: Sequence[str] | None = None) -> int:
    """Run the demonstration.

    Parameters
    ----------
    argv : sequence of str, optional
        Arguments after the program's name; those of the process by default.

    Returns
    -------
    int
        Exit status.

    Notes
    -----
    The variants of a seed advance together, an epoch of each in turn, after an epoch
    that is thrown away: what slows the machine down meets all alike.
    """
    parser = make_parser("python -m ted_torch.demo")
    arguments = parser.parse_args(argv)
    check_arguments(parser, arguments)
    try:
        torch.empty(0, device=arguments.device)
    except (RuntimeError, AssertionError):
        parser.error(f"`--device` must be one that is there, got {arguments.device}")
    threads = torch.get_num_threads()
    torch.set_num_threads(arguments.threads)
    try:
        _run(arguments)
    except (ValueError, TypeError) as error:
        parser.error(str(error))
    finally:
        torch.set_num_threads(threads)
    return 0


def _run(arguments: argparse.Namespace) -> None:
    images, data, width = read_images(arguments)
    settings = Settings(
        epochs=arguments.epochs,
        prune_ratio=arguments.prune_ratio,
        batch_size=arguments.batch_size,
        width=width,
        device=arguments.device,
    )
    warm_up(images, settings)
    run_demo(
        arguments,
        name="ted_torch.demo",
        images=images,
        data=data,
        settings=settings,
        compare=compare,
        versions={"torch": torch.__version__},
    )


if __name__ == "__main__":
    sys.exit(main())
