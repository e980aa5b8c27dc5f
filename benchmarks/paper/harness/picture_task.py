"""Pictures to be classified by a network that is trained from nothing."""

from __future__ import annotations

import numpy as np
import torch
from harness.networks import make_network
from harness.pictures import Pictures
from harness.pictures import load as load_pictures
from torch.nn import functional as F  # noqa: N812 - PyTorch's own habit

__all__ = ["PACKAGES", "Task", "labels", "load"]

PACKAGES = ()
TEST_BATCH = 500
SCALED = 2**28
"""Bytes of pictures from which mean and standard deviation are taken."""


def load(config, arguments):
    """Return the pictures of a configuration."""
    data = dict(config["data"])
    data.pop("kind", None)
    return load_pictures(data.pop("set"), arguments.data_dir, **data)


def labels(images):
    return images.y_train


class Task:
    """A network, and pictures on the device.

    Parameters
    ----------
    images : ted_core.demo.datasets.Images
        Data.
    training : dict
        The configuration's table of that name.
    seed, device : int, str
        Seed of weights and augmentation, and where.
    """

    def __init__(self, images, training, *, seed, device):
        self._device, self._batch = torch.device(device), training["batch"]
        some = max(1, SCALED // images.x_train[0].nbytes)
        x = np.asarray(images.x_train[:some])
        pixels = x.reshape(-1, x.shape[3] if x.ndim == 4 else 1)
        scale = pixels.mean(axis=0), np.maximum(pixels.std(axis=0), 1.0)
        crop = training.get("crop")
        given = {"scale": scale, "device": device, "crop": crop}
        augment = training.get("augment", "")
        self._train = Pictures(images.x_train, images.y_train, augment=augment, **given)
        self._test = Pictures(images.x_test, images.y_test, **given)
        self.classes = images.y_train
        self._network = make_network(
            training["network"],
            classes=images.classes,
            channels=pixels.shape[1],
            seed=seed,
            **training.get("network_options", {}),
        ).to(device)
        compiled = training.get("compile")
        self._run = torch.compile(self._network) if compiled else self._network
        self._dice = torch.Generator(device).manual_seed(seed)
        self._half = training.get("precision") == "bf16"

    def parameters(self):
        return list(self._network.parameters())

    def begin(self, _epoch):
        self._network.train()

    def batches(self, order, _epoch):
        return order.to(self._train.place).split(self._batch)

    def losses(self, ids, source):
        x, y = self._train.batch(ids, self._dice)
        feature, logits = self._forward(source.enter(x, ids))
        losses = F.cross_entropy(logits, y, reduction="none")
        return losses, {"logits": logits, "labels": y, "feature": feature}

    def _forward(self, x):
        with torch.autocast(self._device.type, torch.bfloat16, enabled=self._half):
            feature, logits = self._run(x)
        return feature, logits.float()

    def mean_loss(self, ids):
        return self._evaluate(self._train, ids)[0]

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

    @torch.no_grad()
    def last_layer(self):
        """Return what rankings ask for: the last layer's inputs, outputs and rows."""
        self._network.eval()
        found = {"features": [], "logits": [], "labels": []}
        for some in torch.arange(len(self._train)).split(TEST_BATCH):
            x, y = self._train.batch(some)
            feature, logits = self._forward(x)
            for name, part in zip(found, (feature.float(), logits, y), strict=True):
                found[name].append(part.cpu())
        layer = {name: torch.cat(parts).numpy() for name, parts in found.items()}
        return layer | {"weights": self._network.head.weight.detach().cpu().numpy()}

    def result(self):
        loss, accuracy = self._evaluate(self._test, torch.arange(len(self._test)))
        return {"accuracy": accuracy, "test_loss": round(loss, 5)}

    def state_dict(self):
        return {"network": self._network.state_dict(), "dice": self._dice.get_state()}

    def load_state_dict(self, state):
        self._network.load_state_dict(state["network"])
        self._dice.set_state(state["dice"])
