"""One training of one method with one seed, an epoch at a time, and its checkpoint."""

from __future__ import annotations

import time

import numpy as np
import torch
from harness.optimizers import RATES, make_optimizer

__all__ = ["PACKAGES", "Training"]

PACKAGES = ()
QUANTILES = (0.05, 0.25, 0.5, 0.75, 0.95)
PROBED = 512
"""Samples on each side of the cut whose loss is looked at."""


class Training:
    """A task in training.

    Parameters
    ----------
    source : Plain, TedSource or DataCull
        Who chooses.
    task : Task
        What is trained; see ``harness.tasks``.
    training : dict
        The configuration's table of that name.
    device : str
        Where.
    """

    def __init__(self, source, task, training, *, device):
        self.source, self.task, self._setup = source, task, training
        self._device = torch.device(device)
        self._rate = RATES[training["schedule"]]
        self._warmup = training.get("warmup_steps", 0)
        self._optimizer = make_optimizer(task.parameters(), training)
        self._micro = training.get("micro_batch", training["batch"])
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
        epoch = self._open()
        order = self.source.order(epoch)
        parts = self.task.batches(order, epoch)
        total = torch.zeros((), device=self._device)
        for index, ids in enumerate(parts):
            total += self._step(ids, (epoch + index / len(parts)))
        self._close(len(order), total)

    def _open(self):
        """Begin an epoch, and its seconds."""
        self.task.begin(self.epoch)
        self._begun = time.perf_counter(), time.process_time()
        return self.epoch

    def _close(self, samples, total):
        """End an epoch: log its samples, the mean of their losses, its seconds."""
        epoch = self.epoch
        self.source.close(epoch)
        mean = float(total) / samples
        if not np.isfinite(mean):
            message = f"the training loss must be finite, got {mean} in epoch {epoch}"
            raise ValueError(message)
        begun, cpu = self._begun
        self.log["epoch_seconds"].append(round(time.perf_counter() - begun, 4))
        self.log["epoch_cpu_seconds"].append(round(time.process_time() - cpu, 4))
        self.log["epoch_samples"].append(samples)
        self.log["epoch_loss"].append(round(mean, 5))
        self._probe()

    def _step(self, ids, at):
        """Take one step, by micro-batches whose gradients add up."""
        source = self.source
        known = source.total_steps
        progress = at / source.epochs if known is None else self.steps / known
        rate = self._setup["rate"] * self._rate(progress)
        if self.steps < self._warmup:
            rate *= (self.steps + 1) / self._warmup
        for group in self._optimizer.param_groups:
            group["lr"] = rate
        self._optimizer.zero_grad(set_to_none=True)
        total = 0
        for part in ids.split(self._micro):
            losses, outputs = self.task.losses(part, source)
            loss = source.loss(losses, part, **outputs)
            if len(part) < len(ids):
                loss = loss * (len(part) / len(ids))
            loss.backward()
            total = total + losses.detach().sum()
        self._optimizer.step()
        self.steps += 1
        return total

    def _probe(self):
        """Log what might warn early: scores, classes, losses beside the next cut."""
        scores, kept = self.source.scores, self.source.next_kept()
        if scores is not None:
            quantiles = np.quantile(scores, QUANTILES)
            self.log["score_quantiles"].append([float(f"{q:.5g}") for q in quantiles])
        if kept is None or len(kept) == self.source.n:
            return
        y = self.task.classes
        if y is not None:
            counts = np.bincount(y[kept]) / np.bincount(y)[: 1 + y[kept].max()]
            self.log["least_class_share"].append(round(float(counts.min()), 4))
        every = self._setup.get("probe_every", 0)
        if not every or self.epoch % every:
            return
        dice = np.random.default_rng(self.epoch)
        pruned = np.setdiff1d(np.arange(self.source.n), kept)
        for name, ids in (("kept_loss", kept), ("pruned_loss", pruned)):
            some = dice.permutation(ids)[:PROBED]
            loss = self.task.mean_loss(torch.as_tensor(some))
            self.log[name].append([self.epoch, round(loss, 5)])

    def result(self):
        """Return what the run brought, as plain values."""
        log = self.log
        return (
            self.task.result()
            | {
                "samples_forwarded": sum(log["epoch_samples"]),
                "steps": self.steps,
                "seconds": round(sum(log["epoch_seconds"]), 3),
                "cpu_seconds": round(sum(log["epoch_cpu_seconds"]), 3),
            }
            | {name: values for name, values in log.items() if values}
        )

    def state_dict(self):
        return {
            "source": self.source.state_dict(),
            "task": self.task.state_dict(),
            "optimizer": self._optimizer.state_dict(),
            "steps": self.steps,
            "log": self.log,
        }

    def load_state_dict(self, state):
        self.source.load_state_dict(state["source"])
        self.task.load_state_dict(state["task"])
        self._optimizer.load_state_dict(state["optimizer"])
        self.steps, self.log = state["steps"], state["log"]
