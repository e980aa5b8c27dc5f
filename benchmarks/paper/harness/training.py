"""One training of one method with one seed, an epoch at a time, and its checkpoint."""

from __future__ import annotations

import time

import numpy as np
import torch
from harness.networks import make_network
from harness.optimizers import RATES, make_optimizer
from harness.pictures import Pictures
from torch.nn import functional as F  # noqa: N812 - PyTorch's own habit

__all__ = ["Training"]

QUANTILES = (0.05, 0.25, 0.5, 0.75, 0.95)
PROBED = 512
"""Samples on each side of the cut whose loss is looked at."""
TEST_BATCH = 500
SCALED = 2**28
"""Bytes of pictures from which mean and standard deviation are taken."""


class Training:
    """A network in training.

    Parameters
    ----------
    source : Plain, TedSource or DataCull
        Who chooses.
    images : ted_core.demo.Images
        Data.
    training : dict
        The configuration's table of that name.
    seed, device : int, str
        Seed of weights and augmentation, and where.
    """

    def __init__(self, source, images, training, *, seed, device):
        self.source, self._setup, self._device = source, training, torch.device(device)
        some = max(1, SCALED // images.x_train[0].nbytes)
        x = np.asarray(images.x_train[:some])
        pixels = x.reshape(-1, x.shape[3] if x.ndim == 4 else 1)
        scale = pixels.mean(axis=0), np.maximum(pixels.std(axis=0), 1.0)
        crop = training.get("crop")
        given = {"scale": scale, "device": device, "crop": crop}
        augment = training.get("augment", "")
        self._train = Pictures(images.x_train, images.y_train, augment=augment, **given)
        self._test = Pictures(images.x_test, images.y_test, **given)
        self._y = images.y_train
        network = make_network(
            training["network"],
            classes=images.classes,
            channels=pixels.shape[1],
            seed=seed,
            **training.get("network_options", {}),
        ).to(device)
        self._network = network
        self._run = torch.compile(network) if training.get("compile") else network
        self._rate = RATES[training["schedule"]]
        self._optimizer = make_optimizer(list(network.parameters()), training)
        self._dice = torch.Generator(device).manual_seed(seed)
        self._half = training.get("precision") == "bf16"
        self.log = {
            name: []
            for name in (
                "epoch_samples",
                "epoch_loss",
                "epoch_seconds",
                "epoch_cpu_seconds",
                "score_quantiles",
                "least_class_share",
                "kept_loss",
                "pruned_loss",
            )
        }
        self.steps = 0

    @property
    def epoch(self):
        return len(self.log["epoch_samples"])

    @property
    def finished(self):
        return self.epoch == self.source.epochs

    def train_epoch(self):
        """Train the next epoch; probes are not in its seconds."""
        self._network.train()
        begun, cpu, epoch = time.perf_counter(), time.process_time(), self.epoch
        order = self.source.order(epoch)
        parts = order.to(self._train.place).split(self._setup["batch"])
        total = torch.zeros((), device=self._device)
        for index, ids in enumerate(parts):
            total += self._step(ids, (epoch + index / len(parts)))
        self.source.close(epoch)
        mean = total.item() / len(order)
        if not np.isfinite(mean):
            message = f"the training loss must be finite, got {mean} in epoch {epoch}"
            raise ValueError(message)
        self.log["epoch_seconds"].append(round(time.perf_counter() - begun, 4))
        self.log["epoch_cpu_seconds"].append(round(time.process_time() - cpu, 4))
        self.log["epoch_samples"].append(len(order))
        self.log["epoch_loss"].append(round(mean, 5))
        self._probe()

    def _step(self, ids, at):
        source = self.source
        known = source.total_steps
        progress = at / source.epochs if known is None else self.steps / known
        for group in self._optimizer.param_groups:
            group["lr"] = self._setup["rate"] * self._rate(progress)
        x, y = self._train.batch(ids, self._dice)
        x = source.enter(x, ids)
        feature, logits = self._forward(x)
        losses = F.cross_entropy(logits, y, reduction="none")
        loss = source.loss(losses, ids, logits=logits, labels=y, feature=feature)
        self._optimizer.zero_grad(set_to_none=True)
        loss.backward()
        self._optimizer.step()
        self.steps += 1
        return losses.detach().sum()

    def _forward(self, x):
        with torch.autocast(self._device.type, torch.bfloat16, enabled=self._half):
            feature, logits = self._run(x)
        return feature, logits.float()

    def _probe(self):
        """Log what might warn early: scores, classes, losses beside the next cut."""
        scores, kept = self.source.scores, self.source.next_kept()
        if scores is not None:
            quantiles = np.quantile(scores, QUANTILES)
            self.log["score_quantiles"].append([float(f"{q:.5g}") for q in quantiles])
        if kept is None or len(kept) == self.source.n:
            return
        counts = (
            np.bincount(self._y[kept]) / np.bincount(self._y)[: 1 + self._y[kept].max()]
        )
        self.log["least_class_share"].append(round(float(counts.min()), 4))
        every = self._setup.get("probe_every", 0)
        if not every or self.epoch % every:
            return
        dice = np.random.default_rng(self.epoch)
        pruned = np.setdiff1d(np.arange(self.source.n), kept)
        for name, ids in (("kept_loss", kept), ("pruned_loss", pruned)):
            some = dice.permutation(ids)[:PROBED]
            loss, _ = self._evaluate(self._train, torch.as_tensor(some))
            self.log[name].append([self.epoch, round(loss, 5)])

    @torch.no_grad()
    def _evaluate(self, pictures, ids):
        """Return the mean loss and the accuracy, without augmentation."""
        self._network.eval()
        loss = right = 0
        for some in ids.split(TEST_BATCH):
            x, y = pictures.batch(some)
            _, logits = self._forward(x)
            loss = loss + F.cross_entropy(logits, y, reduction="sum")
            right = right + (logits.argmax(dim=1) == y).sum()
        return float(loss) / len(ids), float(right) / len(ids)

    def result(self):
        """Return what the run brought, as plain values."""
        loss, accuracy = self._evaluate(self._test, torch.arange(len(self._test)))
        log = self.log
        return {
            "accuracy": accuracy,
            "test_loss": round(loss, 5),
            "samples_forwarded": sum(log["epoch_samples"]),
            "steps": self.steps,
            "seconds": round(sum(log["epoch_seconds"]), 3),
            "cpu_seconds": round(sum(log["epoch_cpu_seconds"]), 3),
        } | {name: values for name, values in log.items() if values}

    def state_dict(self):
        return {
            "source": self.source.state_dict(),
            "network": self._network.state_dict(),
            "optimizer": self._optimizer.state_dict(),
            "dice": self._dice.get_state(),
            "steps": self.steps,
            "log": self.log,
        }

    def load_state_dict(self, state):
        self.source.load_state_dict(state["source"])
        self._network.load_state_dict(state["network"])
        self._optimizer.load_state_dict(state["optimizer"])
        self._dice.set_state(state["dice"])
        self.steps, self.log = state["steps"], state["log"]
