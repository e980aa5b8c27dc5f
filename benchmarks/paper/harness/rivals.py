"""Other people's packages, installed as they publish them, behind the same loop.

What had to be set from outside is said in each class, and nothing else is changed.
"""

from __future__ import annotations

from importlib import import_module
from importlib.metadata import version

import numpy as np
import torch

__all__ = ["RIVALS", "DataCull", "InfoBatchPackage"]


class Labelled:
    """A data set as the packages ask for it: ids for items, and ``targets``."""

    def __init__(self, labels):
        self.targets = labels

    def __len__(self):
        return len(self.targets)

    def __getitem__(self, index):
        return (index,)


class Rival:
    """What the loop asks of a rival beside its order and its loss."""

    scores = total_steps = None
    package = ""

    def __init__(self, labels, epochs, seed):
        self.n, self.epochs, self._seed = len(labels), epochs, seed
        self.version = f"{self.package} {version(self.package)}"

    def enter(self, x, _):
        return x

    def close(self, epoch):
        """End an epoch."""

    def next_kept(self):
        """Return nothing: what comes is not known."""


class DataCull(Rival):
    """RS2 (Okanovic et al. 2024) and RCAP (2025) of the PyPI package ``datacull``.

    Set from outside: the number of samples of an epoch, r_t n of TED's schedule, in
    place of one fixed share; the seed of NumPy's global generator, before each draw;
    and an epoch's losses are logged at once, because the logger opens its file for
    every sample. The loss is not scaled, as in the package's examples.
    """

    package = "datacull"

    def __init__(self, spec, labels, counts, *, seed, folder, batch):
        super().__init__(labels, len(counts), seed)
        package, kind = import_module("datacull"), spec["loader"]
        self._counts, data = counts, package.DCDataset(Labelled(labels))
        self.total_steps = int(sum(-(-int(count) // batch) for count in counts))
        self._loader = getattr(package, f"{kind}DataLoader")(data, 1.0)
        self._importance = self._logger = None
        self._seen = []
        if kind == "RCAP":
            folder.mkdir(parents=True, exist_ok=True)
            self._logger = package.DCLogger(f"{folder}/")
            beta = spec.get("temperature", 1.0)
            self._importance = package.RCAPImportance(data, self._logger, beta)

    def order(self, epoch):
        np.random.seed([self._seed, epoch])  # noqa: NPY002 - the package's generator
        self._loader.required_num_samples = int(self._counts[epoch])
        known = self._importance
        self._loader.resample(None if known is None else known.compute_importance())
        return torch.tensor([int(k) for k in self._loader.sampler])

    def loss(self, losses, ids, **_outputs):
        if self._logger is not None:
            self._seen.append((ids, losses.detach()))
        return losses.mean()

    def close(self, epoch):
        if self._seen:
            ids, losses = (
                torch.cat(part).cpu() for part in zip(*self._seen, strict=True)
            )
            self._logger.log_metric(epoch, ids, losses)
            self._seen = []

    def state_dict(self):
        known, loader = self._importance, self._loader
        if known is None:
            order = torch.as_tensor(loader.full_indices)
            return {"counter": loader.counter, "order": order}
        classes = [torch.as_tensor(ids) for ids in loader.local_class_wise_indices]
        losses = torch.as_tensor(known.sample_losses)
        return {"epoch": known.epoch, "losses": losses, "classes": classes}

    def load_state_dict(self, state):
        known, loader = self._importance, self._loader
        if known is None:
            loader.counter, loader.full_indices = (
                state["counter"],
                state["order"].numpy(),
            )
        else:
            known.epoch, known.sample_losses = state["epoch"], state["losses"].numpy()
            loader.local_class_wise_indices = [ids.tolist() for ids in state["classes"]]


class InfoBatchPackage(Rival):
    """InfoBatch (Qin et al. 2024) by its authors' package ``infobatch``, from GitHub.

    Set from outside: the batches are cut from its sampler's indices, because its
    sampler restarts at every batch under today's ``BatchSampler``; and `update` gets a
    copy of the losses, which it multiplies in place. Its draws take no seed.
    """

    package = "infobatch"

    def __init__(self, spec, labels, counts, *, seed, folder, batch):
        del folder, batch
        super().__init__(labels, len(counts), seed)
        make, options = import_module("infobatch").InfoBatch, {}
        options["delta"] = 1 - spec["anneal"]
        ratio = spec["prune_ratio"]
        self._data = make(Labelled(labels), self.epochs, ratio, **options)
        self._sampler = self._data.sampler

    def order(self, _):
        iter(self._sampler)
        return torch.tensor([int(k) for k in self._sampler.sample_indices])

    def loss(self, losses, ids, **_outputs):
        self._data.set_active_indices(ids.cpu())
        return self._data.update(losses.clone())

    def state_dict(self):
        data = self._data
        iterations = self._sampler.iterations
        return {"scores": data.scores, "weights": data.weights, "epoch": iterations}

    def load_state_dict(self, state):
        self._data.scores, self._data.weights = state["scores"], state["weights"]
        self._sampler.iterations = state["epoch"]


RIVALS = {"datacull": DataCull, "infobatch": InfoBatchPackage}
