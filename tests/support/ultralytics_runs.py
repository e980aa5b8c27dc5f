"""Ultralytics' trainers on tiny pictures."""

from __future__ import annotations

from contextlib import suppress
from functools import partial
from pathlib import Path

import cv2
import numpy as np
import torch
import ultralytics_offline  # noqa: F401 - before Ultralytics
from ted_torch.integrations.ultralytics import (
    TEDClassificationTrainer,
    TEDDetectionTrainer,
)
from ultralytics import YOLO

N, EPOCHS, BATCH, SIZE = 40, 6, 4, 32

DETECTOR = """
nc: 2
scales: {n: [1, 0.125, 64]}
backbone:
  - [-1, 1, Conv, [64, 3, 2]]
  - [-1, 1, Conv, [64, 3, 2]]
  - [-1, 1, Conv, [64, 3, 2]]
  - [-1, 1, Conv, [64, 3, 2]]
head:
  - [[2, 3], 1, Detect, [nc]]
"""
CLASSIFIER = """
nc: 2
scales: {n: [1, 0.125, 64]}
backbone:
  - [-1, 1, Conv, [64, 3, 2]]
  - [-1, 1, Conv, [64, 3, 2]]
head:
  - [-1, 1, Classify, [nc]]
"""

QUIET = {
    "imgsz": SIZE,
    "batch": BATCH,
    "nbs": 2 * BATCH,
    "epochs": EPOCHS,
    "optimizer": "SGD",
    "lr0": 0.01,
    "lrf": 0.1,
    "warmup_epochs": 1.0,
    "mosaic": 0.0,
    "pretrained": False,
    "amp": False,
    "plots": False,
    "verbose": False,
    "val": False,
    "workers": 0,
    "device": "cpu",
    "seed": 3,
}


def picture(rng, boxes):
    """Draw rectangles of two colours; give the picture and their lines of labels."""
    pixels, lines = np.full((SIZE, SIZE, 3), 114, np.uint8), []
    for _ in range(boxes):
        kind = int(rng.integers(2))
        x, y = rng.integers(8, SIZE - 8, 2)
        w, h = rng.integers(6, 14, 2)
        colour = (255 * kind, 60, 90)
        cv2.rectangle(
            pixels,
            (int(x - w // 2), int(y - h // 2)),
            (int(x + w // 2), int(y + h // 2)),
            colour,
            -1,
        )
        part = np.array([x, y, w, h]) / SIZE
        lines.append(" ".join([str(kind), *(f"{each:.4f}" for each in part)]))
    return pixels, lines


def detection_data(folder):
    """Write pictures with up to two boxes each, and models; give the data's file."""
    rng = np.random.default_rng(0)
    for split, count in (("train", N), ("val", 4)):
        for kind in ("images", "labels"):
            (folder / kind / split).mkdir(parents=True)
        for number in range(count):
            pixels, lines = picture(rng, number % 3)
            name = f"{split}/{number:02d}"
            cv2.imwrite(str(folder / "images" / f"{name}.png"), pixels)
            (folder / "labels" / f"{name}.txt").write_text("\n".join(lines))
    data = folder / "data.yaml"
    data.write_text(
        f"path: {folder}\ntrain: images/train\nval: images/val\nnames: [a, b]\n"
    )
    (folder / "tiny.yaml").write_text(DETECTOR)
    (folder / "tiny-end.yaml").write_text("end2end: True\n" + DETECTOR)
    return data


def class_data(folder):
    """Write pictures of two classes, and a model; give the data's folder."""
    rng = np.random.default_rng(0)
    for split, count in (("train", N // 2), ("val", 2)):
        for label in "ab":
            (folder / split / label).mkdir(parents=True)
            for number in range(count):
                pixels = rng.integers(0, 128, (SIZE, SIZE, 3)) + 127 * (label == "b")
                name = str(folder / split / label / f"{number}.png")
                cv2.imwrite(name, pixels.astype(np.uint8))
    (folder / "tiny-cls.yaml").write_text(CLASSIFIER)
    return folder


class Seen:
    """What a run forwarded: each epoch's paths or ids, its rates and its steps."""

    def __init__(self, model):
        self.ids, self.rates, self.momenta, self.steps = {}, {}, {}, 0
        self.batch = None
        model.add_callback("on_train_start", self._watch)
        model.add_callback("on_train_epoch_end", self._note)

    def _watch(self, trainer):
        network, step = trainer.model, trainer.optimizer.step
        forward = network.loss

        def loss(batch, preds=None):
            self.ids.setdefault(trainer.epoch, []).extend(batch["ted_id"].tolist())
            return forward(batch, preds)

        def count(*args, **kwargs):
            self.steps += 1
            return step(*args, **kwargs)

        network.loss, trainer.optimizer.step = loss, count

    def _note(self, trainer):
        groups = trainer.optimizer.param_groups
        self.rates[trainer.epoch] = [group["lr"] for group in groups]
        self.momenta[trainer.epoch] = groups[0].get("momentum")


def detect(folder, data, *, model="tiny.yaml", **options):
    """Train a detector; give the model, the trainer and what was seen."""
    return _train(YOLO(folder / model), TEDDetectionTrainer, data, **options)


def classify(folder, data, *, model="tiny-cls.yaml", **options):
    """Train a classifier; give the model, the trainer and what was seen."""
    return _train(YOLO(folder / model), TEDClassificationTrainer, data, **options)


class KilledError(Exception):
    """A run ends in the middle of an epoch."""


def _train(model, trainer, data, *, ted=None, stop=None, **options):
    seen = Seen(model)
    if stop is not None:

        def kill(trainer):
            if trainer.epoch == stop:
                raise KilledError

        model.add_callback("on_train_batch_end", kill)
    if "resume" not in options:
        options = {**QUIET, "project": str(Path(data).parent / "runs"), **options}
    torch.manual_seed(0)
    made = partial(trainer, ted={"prune_ratio": 0.7, **(ted or {})})
    with suppress(KilledError):
        model.train(trainer=made, data=str(data), **options)
    return model, model.trainer, seen
