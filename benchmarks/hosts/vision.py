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

CLASSIFICATION = [
    ("after", "^import torchvision$", "from ted_torch import TED"),
    (
        "at",
        r"^def train_one_epoch\(",
        "def train_one_epoch(ted, model, optimizer, data_loader, device, epoch, args,",
        "                    model_ema=None, scaler=None):",
    ),
    (
        "at",
        r"^    for i, \(image, target\) in",
        "for i, (ids, (image, target)) in enumerate(",
        "        metric_logger.log_every(data_loader, args.print_freq, header)):",
    ),
    (
        "at",
        r"loss = criterion\(output, target\)(?=\n\n +optimizer)",
        "losses = nn.functional.cross_entropy(",
        "    output, target, label_smoothing=args.label_smoothing, reduction='none')",
        "loss = ted.loss(losses, ids=ids, logits=output, labels=target)",
    ),
    (
        "at",
        r"metric_logger.update\(loss=loss.item\(\), lr",
        "metric_logger.update(",
        "    loss=losses.mean().item(), lr=optimizer.param_groups[0]['lr'])",
    ),
    (
        "at",
        r"^    data_loader = torch.utils.data.DataLoader\(\n.*\n.*\n.*$",
        "ted = TED(dataset, epochs=args.epochs, method='soft_margin',",
        "          multiple_of=args.batch_size, device=device)",
        "data_loader = torch.utils.data.DataLoader(",
        "    ted.dataset,",
        "    batch_size=args.batch_size,",
        "    sampler=ted.sampler,",
    ),
    ("at", "^        collate_fn=collate_fn,$", "collate_fn=ted.collate(collate_fn),"),
    (
        "before",
        r"checkpoint = torch.load\(args.resume",
        "torch.serialization.add_safe_globals([type(args)])",
    ),
    (
        "after",
        r"^        args.start_epoch = checkpoint",
        "ted.load_state_dict(checkpoint['ted'])",
        "torch.set_rng_state(checkpoint['generator'])",
    ),
    (
        "at",
        r"^        train_one_epoch\(",
        "ted.set_epoch(epoch)",
        "train_one_epoch(",
        "    ted, model, optimizer, data_loader, device, epoch, args, model_ema, scaler)",
        "ted.close_epoch()",
    ),
    (
        "after",
        '"epoch": epoch,$',
        "'ted': ted.state_dict(),",
        "'generator': torch.get_rng_state(),",
    ),
]
SEGMENTATION = [
    ("after", "^import os$", "import random"),
    ("after", "^import torchvision$", "from ted_torch import TED"),
    (
        "at",
        r"^        losses\[name\] =",
        "losses[name] = nn.functional.cross_entropy(",
        "    x, target, ignore_index=255, reduction='none')",
    ),
    (
        "at",
        r"^def train_one_epoch\(",
        "def train_one_epoch(ted, model, criterion, optimizer, data_loader, lr_scheduler,",
        "                    device, epoch, print_freq, scaler=None):",
    ),
    (
        "at",
        r"for image, target in .*print_freq, header\)",
        "for ids, (image, target) in metric_logger.log_every(",
        "        data_loader, print_freq, header):",
    ),
    (
        "at",
        r"loss = criterion\(output, target\)",
        "losses = criterion(output, target)",
        "loss = ted.loss(losses, ids=ids, valid=target != 255)",
    ),
    (
        "at",
        r"^    data_loader = torch.utils.data.DataLoader\(\n.*\n.*\n.*$",
        "ted = TED(dataset, epochs=args.epochs, method='ted_loss',",
        "          multiple_of=args.batch_size, device=device)",
        "data_loader = torch.utils.data.DataLoader(",
        "    ted.dataset,",
        "    batch_size=args.batch_size,",
        "    sampler=ted.sampler,",
    ),
    (
        "at",
        "^        collate_fn=utils.collate_fn,$",
        "collate_fn=ted.collate(utils.collate_fn),",
    ),
    (
        "at",
        r"total_iters=iters_per_epoch \* \(args.epochs",
        "optimizer, ted.total_steps(args.batch_size, drop_last=True), power=0.9",
    ),
    (
        "before",
        r"checkpoint = torch.load\(args.resume",
        "torch.serialization.add_safe_globals([type(args)])",
    ),
    (
        "after",
        r"^            args.start_epoch = checkpoint",
        "ted.load_state_dict(checkpoint['ted'])",
        "torch.set_rng_state(checkpoint['generator'])",
        "version, state, gauss = checkpoint['random']",
        "random.setstate((version, tuple(state), gauss))",
    ),
    (
        "at",
        r"^        train_one_epoch\(",
        "ted.set_epoch(epoch)",
        "train_one_epoch(ted, model, criterion, optimizer, data_loader, lr_scheduler,",
        "                device, epoch, args.print_freq, scaler)",
        "ted.close_epoch()",
    ),
    (
        "after",
        '"epoch": epoch,$',
        "'ted': ted.state_dict(),",
        "'generator': torch.get_rng_state(),",
        "'random': random.getstate(),",
    ),
]
DETECTION = [
    ("after", "^import torchvision$", "from ted_torch import TED"),
    (
        "at",
        r"^        train_batch_sampler = GroupedBatchSampler\(",
        "train_batch_sampler = GroupedBatchSampler(",
        "    ted.sampler, group_ids, args.batch_size)",
    ),
    (
        "before",
        "^    if args.aspect_ratio_group_factor >= 0:",
        "ted = TED(dataset, epochs=args.epochs, method='ted',",
        "          multiple_of=args.batch_size, device=device)",
    ),
    (
        "at",
        "^        dataset, batch_sampler=",
        "ted.dataset, batch_sampler=train_batch_sampler, num_workers=args.workers,",
        "collate_fn=ted.collate(train_collate_fn)",
    ),
    (
        "after",
        r"^    model.to\(device\)$",
        "seen = {}",
        "model.head.register_forward_hook(lambda head, args, out: seen.update(out))",
    ),
    (
        "before",
        r"checkpoint = torch.load\(args.resume",
        "torch.serialization.add_safe_globals([type(args)])",
    ),
    (
        "after",
        r"^        args.start_epoch = checkpoint",
        "ted.load_state_dict(checkpoint['ted'])",
        "torch.set_rng_state(checkpoint['generator'])",
    ),
    (
        "at",
        r"^        train_one_epoch\(",
        "ted.set_epoch(epoch)",
        "train_one_epoch(ted, seen, model, optimizer, data_loader, device, epoch,",
        "                args.print_freq, scaler)",
        "ted.close_epoch()",
    ),
    (
        "after",
        '"epoch": epoch,$',
        "'ted': ted.state_dict(),",
        "'generator': torch.get_rng_state(),",
    ),
]
ENGINE = [
    (
        "at",
        r"^def train_one_epoch\(",
        "def train_one_epoch(ted, seen, model, optimizer, data_loader, device, epoch,",
        "                    print_freq, scaler=None):",
    ),
    (
        "at",
        r"for images, targets in .*print_freq, header\)",
        "for ids, (images, targets) in metric_logger.log_every(",
        "        data_loader, print_freq, header):",
    ),
    (
        "after",
        r"losses = sum\(loss for loss in loss_dict.values",
        "mask = list(seen.values())",
        "loss = ted.loss(losses.expand(len(ids)), ids=ids, mask=mask)",
    ),
    ("at", r"scaler.scale\(losses\)", "scaler.scale(loss).backward()"),
    ("at", r"^            losses.backward", "loss.backward()"),
]
TORCHVISION = {
    "page": "torchvision",
    "repository": "pytorch/vision",
    "commit": "v0.21.0",
    "resume": "--resume {out}/checkpoint.pth",
    "packages": ("torch", "torchvision"),
}

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
    "torchvision_classification": Script(
        path="references/classification/train.py",
        edits={"train.py": CLASSIFICATION},
        arguments="--data-path {data} --output-dir {out} --device cpu -j 0 -b 8 --epochs 5 "
        "--model mobilenet_v3_small --lr 0.02 --lr-scheduler cosineannealinglr "
        "--lr-warmup-epochs 1 --train-crop-size 64 --val-resize-size 64 "
        "--val-crop-size 64",
        data=folders,
        **TORCHVISION,
    ),
    "torchvision_segmentation": Script(
        path="references/segmentation/train.py",
        edits={"train.py": SEGMENTATION},
        arguments="--data-path {data} --dataset voc --output-dir {out} --device cpu -j 0 "
        "-b 4 --epochs 5 --model lraspp_mobilenet_v3_large",
        data=voc,
        **TORCHVISION,
    ),
    "torchvision_detection": Script(
        path="references/detection/train.py",
        edits={"train.py": DETECTION, "engine.py": ENGINE},
        arguments="--data-path {data} --output-dir {out} --device cpu -j 0 -b 4 "
        "--epochs 5 --model ssdlite320_mobilenet_v3_large --lr 0.01 --lr-steps 3 4",
        data=coco,
        **TORCHVISION,
    ),
}
