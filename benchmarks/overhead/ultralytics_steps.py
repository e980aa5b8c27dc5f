"""Time Ultralytics without TED and with it, by the step, from the second epoch on.

`python benchmarks/overhead/ultralytics_steps.py` writes the record, `--table FILE`
prints one.
"""

from __future__ import annotations

import tempfile
import time
import warnings
from functools import partial
from pathlib import Path

import cv2
import numpy as np
from step_turns import run
from ted_torch.integrations.ultralytics import TEDDetectionTrainer
from ultralytics import YOLO
from ultralytics.models.yolo.detect import DetectionTrainer
from ultralytics.utils import LOGGER

RECORD = Path(__file__).parent / "records" / "ultralytics_steps.json"
EPOCHS, SIZE, SIDE = 3, 32, 12

# YOLO11n's head on five convolutions: what TED adds is at the head, and the times of
# more layers differ from fit to fit by more than that.
NETWORK = """
nc: 1
scales: {n: [1, 0.25, 1024]}
backbone:
  - [-1, 1, Conv, [64, 3, 2]]
  - [-1, 1, Conv, [128, 3, 2]]
  - [-1, 1, Conv, [256, 3, 2]]
  - [-1, 1, Conv, [512, 3, 2]]
  - [-1, 1, Conv, [1024, 3, 2]]
head:
  - [[2, 3, 4], 1, Detect, [nc]]
"""


def draw(root, n):
    """Write pictures of one square each; give the data's file."""
    draws = np.random.default_rng(0)
    for split, count in (("train", n), ("val", 1)):
        for kind in ("images", "labels"):
            (root / kind / split).mkdir(parents=True)
        for number in range(count):
            pixels = np.full((SIZE, SIZE, 3), 114, np.uint8)
            x, y = (int(each) for each in draws.integers(0, SIZE - SIDE, 2))
            corner = x + SIDE, y + SIDE
            cv2.rectangle(pixels, (x, y), corner, (255, 60, 90), -1)
            cv2.imwrite(str(root / f"images/{split}/{number}.png"), pixels)
            box = (x + SIDE / 2, y + SIDE / 2, SIDE, SIDE)
            label = " ".join(["0", *(str(part / SIZE) for part in box)])
            (root / f"labels/{split}/{number}.txt").write_text(label, encoding="utf-8")
    data = root / "data.yaml"
    data.write_text(
        f"path: {root}\ntrain: images/train\nval: images/val\nnames: [square]\n",
        encoding="utf-8",
    )
    return data


def prepare(options):
    """Return what times one site, and what the record tells of it."""
    warnings.simplefilter("ignore")
    LOGGER.setLevel("ERROR")
    folder = tempfile.TemporaryDirectory()
    root = Path(folder.name)
    data = draw(root, options.steps * options.batch)
    network = root / "yolon.yaml"
    network.write_text(NETWORK, encoding="utf-8")

    def fit(site):
        times = []

        def note(trainer):
            # From the end of the first epoch, in which each run checks its data.
            trainer.validate = lambda: ({}, 0.0)  # at the end, even if it is off
            times.append((time.perf_counter(), time.process_time()))

        model = YOLO(network)
        # Between two ends lies the closing of one epoch.
        model.add_callback("on_train_epoch_end", note)
        ted = {"prune_ratio": 0.0, "method": "ted"}
        model.train(
            trainer=partial(TEDDetectionTrainer, ted=ted)
            if site == "ted"
            else DetectionTrainer,
            data=str(data),
            project=str(root / "runs"),
            epochs=EPOCHS,
            imgsz=SIZE,
            batch=options.batch,
            nbs=options.batch,
            optimizer="SGD",
            mosaic=0.0,
            cache=True,
            workers=0,
            device="cpu",
            amp=False,
            plots=False,
            val=False,
            save=False,
            verbose=False,
        )
        (first, *_, last), steps = times, (EPOCHS - 1) * options.steps
        return [1000 * (b - a) / steps for a, b in zip(first, last, strict=True)]

    fit.folder = folder  # there as long as the function
    return fit, {"network": "yolo head", "epochs": EPOCHS - 1, "image": [3, SIZE, SIZE]}


def main():
    run(
        "Ultralytics step",
        prepare,
        ["plain again", "ted"],
        ["torch", "ultralytics"],
        RECORD,
        batch=16,
    )


if __name__ == "__main__":
    main()
