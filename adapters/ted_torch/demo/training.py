"""Training of one network, an epoch at a time: in full, or on what TED keeps."""

from __future__ import annotations

from time import perf_counter, process_time

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional as F  # noqa: N812 - PyTorch's own habit
from torch.utils.data import DataLoader

from ted_core.demo import Images, TimedRun
from ted_core.strategies import Strategy
from ted_torch.demo.batches import Batch, Pictures, join, join_with_ids
from ted_torch.demo.network import make_network
from ted_torch.demo.settings import Settings
from ted_torch.session import TED

__all__ = ["Training"]

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
            visits, forwarded = ted.pruner.visits, ted.savings().forwarded
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
