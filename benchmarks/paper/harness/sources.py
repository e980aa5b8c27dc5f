"""Who says which samples an epoch visits, and what their losses add up to."""

from __future__ import annotations

import numpy as np
import torch
from ted_torch import TED

from ted_core import cross_entropy_mask_gradient, signals

__all__ = ["Plain", "TedSource"]


class Plain:
    """All samples in a fresh order, and the mean of the losses; no part of TED.

    With `steps` the run ends after so many, in the middle of an epoch if need be.
    """

    scores = None

    def __init__(self, n, *, epochs, batch, seed, steps=None):
        self.n, self._batch, self._seed = n, batch, seed
        per_epoch = -(-n // batch)
        self.total_steps = epochs * per_epoch if steps is None else steps
        self.epochs = -(-self.total_steps // per_epoch)
        self._per_epoch = per_epoch

    def order(self, epoch):
        dice = np.random.default_rng([self._seed, epoch])
        left = self.total_steps - epoch * self._per_epoch
        ids = dice.permutation(self.n)[: left * self._batch]
        return torch.as_tensor(ids)

    def enter(self, x, _):
        return x

    def loss(self, losses, _ids, **_outputs):
        return losses.mean()

    def close(self, epoch):
        """End an epoch."""

    def next_kept(self):
        """Return the samples of the coming epoch, if these are chosen."""

    def state_dict(self):
        return {}

    def load_state_dict(self, state):
        """Take over a state: there is none."""


class TedSource:
    """A session of ``ted_torch``, through its public names.

    `site` is where the mask stands: ``logits``, ``feature`` (the input of the last
    layer) or ``input``. Signed values, and values divided by their step's mean, are
    closed forms at the logits.
    """

    def __init__(self, n, *, epochs, batch, seed, device, spec, options):
        self.n, self.epochs = n, epochs
        self.ted = TED(range(n), epochs=epochs, seed=seed, device=device, **options)
        self.spec, self.options = spec, options
        self._site = spec.get("site", "logits")
        self._signed = spec.get("signed", False)
        self._normalize = spec.get("normalize", False)
        strategy = self.ted.pruner.config.strategy
        self._ranks = strategy.uses_scores
        self._signal = self.ted.pruner.config.signal
        known = strategy.known_count
        self.total_steps = self.ted.total_steps(batch) if known else None
        self.ted.set_epoch(0)

    def order(self, epoch):
        self.ted.set_epoch(epoch)
        return torch.tensor(list(self.ted.sampler))

    def enter(self, x, ids):
        if self._site == "input" and self._ranks:
            return self.ted.mask(x, ids=ids)
        return x

    def loss(self, losses, ids, *, logits, labels, feature):
        if not self._ranks:
            return self.ted.loss(losses, ids=ids)
        if self._signal == "mask_gradient":
            masks = {"logits": logits, "feature": feature}
            return self.ted.loss(losses, ids=ids, mask=masks.get(self._site))
        if self._signed or self._normalize:
            # The values go in as losses, which keep the gradient of the true ones.
            with torch.no_grad():
                values = cross_entropy_mask_gradient(
                    logits, labels, signed=self._signed
                )
                if self._normalize:
                    values = signals.normalize(values)
            losses = values + losses - losses.detach()
            return self.ted.loss(losses, ids=ids)
        inputs = {"logits": logits, "labels": labels, "hidden": feature}
        return self.ted.loss(losses, ids=ids, **inputs)

    def close(self, epoch):
        if epoch + 1 < self.epochs:
            self.ted.set_epoch(epoch + 1)
        else:
            self.ted.finish()

    @property
    def scores(self):
        return self.ted.pruner.scores if self._ranks else None

    def next_kept(self):
        pruner = self.ted.pruner
        return None if pruner.finished else pruner.plan().kept

    def state_dict(self):
        return self.ted.state_dict()

    def load_state_dict(self, state):
        self.ted.load_state_dict(state)
        if not self.ted.pruner.finished:
            self.ted.set_epoch(self.ted.epoch)
