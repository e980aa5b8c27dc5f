"""Scripts for pictures."""

from __future__ import annotations

import json
import struct

import numpy as np
from PIL import Image
from run import Script


def squares(count, size, classes, seed=0):
    """Give labels and noisy pictures, with a square where the label says."""
    rng = np.random.default_rng(seed)
    side = size // (classes + 1)
    for k in range(count):
        pixels = rng.integers(0, 90, (size, size, 3)).astype(np.uint8)
        label = k % classes
        corner = (label * side, label * side + 2 * side)
        pixels[corner[0] : corner[1], corner[0] : corner[1]] += np.uint8(120)
        yield label, corner, pixels


def digits(folder):
    """Write pictures in the four files of MNIST."""
    raw = folder / "MNIST" / "raw"
    raw.mkdir(parents=True)
    for name, size in (("train", 640), ("t10k", 64)):
        labels, _, pictures = zip(*squares(size, 28, 10), strict=True)
        pixels = b"".join(picture[..., 0].tobytes() for picture in pictures)
        head = struct.pack(">IIII", 2051, size, 28, 28)
        (raw / f"{name}-images-idx3-ubyte").write_bytes(head + pixels)
        head = struct.pack(">II", 2049, size)
        (raw / f"{name}-labels-idx1-ubyte").write_bytes(head + bytes(labels))


def folders(folder, *, splits=("train", "val"), size=64):
    """Write pictures in folders of their classes."""
    for split, count in zip(splits, (48, 8), strict=True):
        for k, (label, _, pixels) in enumerate(squares(count, size, 6)):
            path = folder / split / f"class{label}" / f"{k}.png"
            path.parent.mkdir(parents=True, exist_ok=True)
            Image.fromarray(pixels).save(path)


def voc(folder):
    """Write pictures and masks as Pascal VOC has them."""
    root = folder / "VOCdevkit" / "VOC2012"
    for part in ("JPEGImages", "SegmentationClass", "ImageSets/Segmentation"):
        (root / part).mkdir(parents=True)
    for split, count in (("train", 16), ("val", 1)):
        for k, (label, (a, b), pixels) in enumerate(squares(count, 96, 3)):
            Image.fromarray(pixels).save(root / f"JPEGImages/{split}{k}.jpg")
            mask = np.zeros((96, 96), np.uint8)
            mask[a:b, a:b] = label + 1
            mask[:4] = 255
            mask = Image.fromarray(mask, mode="P")
            mask.putpalette([c for c in range(256) for _ in range(3)])
            mask.save(root / f"SegmentationClass/{split}{k}.png")
        names = "".join(f"{split}{k}\n" for k in range(count))
        (root / f"ImageSets/Segmentation/{split}.txt").write_text(names)


def coco(folder):
    """Write pictures and boxes as COCO has them."""
    (folder / "annotations").mkdir(parents=True)
    for split, count in (("train2017", 16), ("val2017", 2)):
        (folder / split).mkdir()
        images, boxes = [], []
        for k, (label, (a, b), pixels) in enumerate(squares(count, 96, 3)):
            Image.fromarray(pixels).save(folder / split / f"{k}.jpg")
            name = f"{k}.jpg"
            images.append({"id": k, "file_name": name, "width": 96, "height": 96})
            box = {"id": k + 1, "image_id": k, "category_id": label + 1, "iscrowd": 0}
            box |= {"bbox": [a, a, b - a, b - a], "area": (b - a) ** 2}
            box["segmentation"] = [[a, a, b, a, b, b, a, b]]
            boxes.append(box)
        kinds = [{"id": k, "name": f"kind {k}"} for k in range(1, 4)]
        parts = {"images": images, "annotations": boxes, "categories": kinds}
        path = folder / "annotations" / f"instances_{split}.json"
        path.write_text(json.dumps(parts))


MNIST = [
    ("after", "^import torch$", "from ted_torch import TED"),
    (
        "at",
        r"^def train\(args",
        "def train(ted, args, model, device, train_loader, optimizer, epoch):",
    ),
    (
        "at",
        r"for batch_idx, \(data, target\)",
        "for batch_idx, (ids, (data, target)) in enumerate(train_loader):",
    ),
    (
        "at",
        r"^        loss = F.nll_loss",
        "losses = F.nll_loss(output, target, reduction='none')",
        "loss = ted.loss(losses, ids=ids, logits=output, labels=target)",
    ),
    (
        "at",
        "^    train_loader =",
        "ted = TED(dataset1, epochs=args.epochs, method='soft_margin',",
        "          multiple_of=args.batch_size, device=device)",
        "train_kwargs.pop('shuffle', None)",
        "train_loader = torch.utils.data.DataLoader(",
        "    ted.dataset, sampler=ted.sampler, **train_kwargs)",
    ),
    (
        "at",
        r"^        train\(args",
        "ted.set_epoch(epoch - 1)",
        "train(ted, args, model, device, train_loader, optimizer, epoch)",
    ),
    ("before", "^    if args.save_model:", "ted.finish()"),
]
IMAGENET = [
    ("after", "^import torch.nn as nn$", "from ted_torch import TED"),
    (
        "at",
        r"^        train_dataset, batch_size",
        "ted.dataset, batch_size=args.batch_size,",
    ),
    (
        "at",
        r"pin_memory=True, sampler=train_sampler\)",
        "num_workers=args.workers, pin_memory=True, sampler=ted.sampler)",
    ),
    (
        "before",
        "^    train_loader =",
        "ted = TED(train_dataset, epochs=args.epochs, method='soft_margin',",
        "          multiple_of=args.batch_size, device=device)",
        "if args.resume:",
        "    ted.load_state_dict(checkpoint['ted'])",
        "    torch.set_rng_state(checkpoint['generator'])",
    ),
    (
        "at",
        r"^        train\(train_loader",
        "ted.set_epoch(epoch)",
        "train(ted, train_loader, model, optimizer, epoch, device, args)",
        "ted.close_epoch()",
    ),
    (
        "after",
        "'state_dict': model.state_dict",
        "'ted': ted.state_dict(),",
        "'generator': torch.get_rng_state(),",
    ),
    (
        "at",
        r"^def train\(train_loader",
        "def train(ted, train_loader, model, optimizer, epoch, device, args):",
    ),
    (
        "at",
        r"^    for i, \(images, target\) in enumerate\(train_loader",
        "for i, (ids, (images, target)) in enumerate(train_loader):",
    ),
    (
        "at",
        r"^        loss = criterion\(",
        "each = nn.functional.cross_entropy(output, target, reduction='none')",
        "loss = ted.loss(each, ids=ids, logits=output, labels=target)",
    ),
    (
        "at",
        r"^        losses.update",
        "losses.update(each.mean().item(), images.size(0))",
    ),
]

SCRIPTS = {
    "mnist": Script(
        page="pytorch",
        repository="pytorch/examples",
        commit="77f55b912142e11fcfdf5b530231fb9c52f181e8",
        path="mnist/main.py",
        edits={"main.py": MNIST},
        arguments="--epochs 5 --no-accel",
        data=digits,
        remark="The script can't resume.",
        packages=("torch", "torchvision"),
    ),
    "imagenet": Script(
        page="pytorch",
        repository="pytorch/examples",
        commit="77f55b912142e11fcfdf5b530231fb9c52f181e8",
        path="imagenet/main.py",
        edits={"main.py": IMAGENET},
        arguments="{data} -a mobilenet_v3_small -b 8 -j 0 --epochs 5 --lr 0.02 --seed 1 "
        "--no-accel",
        data=folders,
        resume="--resume {out}/checkpoint.pth.tar",
        packages=("torch", "torchvision"),
    ),
}
