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
    for split, count in (("train", 8), ("val", 1)):
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
    for split, count in (("train2017", 12), ("val2017", 1)):
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


def yolo(folder):
    """Write pictures and boxes as Ultralytics has them."""
    for split, count in (("train", 24), ("val", 2)):
        for kind in ("images", "labels"):
            (folder / kind / split).mkdir(parents=True)
        for k, (label, (a, b), pixels) in enumerate(squares(count, 32, 2)):
            Image.fromarray(pixels).save(folder / "images" / split / f"{k}.png")
            middle, size = (a + b) / 64, (b - a) / 32
            line = f"{label} {middle} {middle} {size} {size}"
            (folder / "labels" / split / f"{k}.txt").write_text(line)
    lines = f"path: {folder}", "train: images/train", "val: images/val", "names: [a, b]"
    (folder / "data.yaml").write_text("\n".join(lines))


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
        "    ted, model, optimizer, data_loader, device, epoch, args,",
        "    model_ema, scaler)",
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
        "def train_one_epoch(ted, model, criterion, optimizer, data_loader,",
        "                    lr_scheduler, device, epoch, print_freq, scaler=None):",
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
        "at",
        "^        dataset_test, batch_size=1, sampler=test_sampler",
        "dataset_test, batch_size=1, sampler=test_sampler, num_workers=args.workers,",
        "collate_fn=utils.collate_fn, generator=torch.Generator(),",
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
TIMM = [
    (
        "before",
        "^from timm import utils$",
        "import random",
        "from ted_core import atomic_write",
        "from ted_torch import TED",
        "from ted_torch.integrations.timm import TimmLoader",
    ),
    (
        "before",
        r"^    train_loss_fn = train_loss_fn.to\(",
        "train_loss_fn = nn.CrossEntropyLoss(",
        "    reduction='none', label_smoothing=args.smoothing)",
    ),
    (
        "before",
        "^    results = \\[\\]$",
        "ted = TED(dataset_train, epochs=num_epochs, method='soft_margin',",
        "          device=device, multiple_of=args.batch_size * args.grad_accum_steps)",
        "if args.resume:",
        "    saved = torch.load(os.path.join(os.path.dirname(args.resume), 'ted.pt'))",
        "    ted.load_state_dict(saved['ted'])",
        "    torch.set_rng_state(saved['generator'])",
        "    version, state, gauss = saved['random']",
        "    random.setstate((version, tuple(state), gauss))",
        "loader_train = TimmLoader(ted, loader_train)",
    ),
    ("at", r"^            _set_loader_epoch\(", "ted.set_epoch(epoch)"),
    ("after", "^                task=task,\n(?= +device=device,\n +lr_s)", "ted=ted,"),
    (
        "at",
        r"^                num_updates_total=num_epochs",
        "num_updates_total=num_epochs * updates_per_epoch,",
        "num_epochs=num_epochs,",
    ),
    (
        "before",
        r"^                best_metric, best_epoch = saver",
        "ted.close_epoch()",
        "saved = {'ted': ted.state_dict(), 'generator': torch.get_rng_state(),",
        "         'random': random.getstate()}",
        "with atomic_write(os.path.join(output_dir, 'ted.pt')) as file:",
        "    torch.save(saved, file)",
    ),
    (
        "at",
        "^        num_updates_total=None,",
        "num_updates_total=None,",
        "num_epochs=None,",
        "ted=None,",
    ),
    (
        "at",
        r"for batch_idx, \(input, target\) in .*$(?=\n.*\n +need_update)",
        "for batch_idx, (ids, (input, target)) in enumerate(loader):",
    ),
    (
        "at",
        r"^                _loss = result\['loss'\]",
        "_loss = ted.loss(",
        "    result['loss'], ids=ids, logits=result['output'], labels=target)",
    ),
    (
        "at",
        r"lr_scheduler.step_update\(num_updates=num_updates",
        "progress = (epoch + (update_idx + 1) / updates_per_epoch) / num_epochs",
        "lr_scheduler.step_update(",
        "    num_updates=round(num_updates_total * progress), metric=losses_m.avg)",
    ),
]
LIGHTNING = [
    (
        "after",
        "^from torchmetrics import Accuracy$",
        "from ted_torch.integrations.lightning import TEDCallback",
    ),
    (
        "at",
        r"^    def training_step\(self, batch, batch_idx\):\n.*$",
        "def training_step(self, batch, batch_idx):",
        "    ids, (images, target) = batch",
    ),
    (
        "at",
        "^        loss_train = F.cross_entropy",
        "losses = F.cross_entropy(output, target, reduction='none')",
        "loss_train = self.ted.loss(losses, ids=ids, logits=output, labels=target)",
    ),
    ("at", r'self.log\("train_loss"', "self.log('train_loss', losses.mean())"),
    (
        "before",
        "^    def configure_optimizers",
        "def configure_callbacks(self):",
        "    self.ted = TEDCallback(lambda: self.train_dataset, method='soft_margin',",
        "                           multiple_of=self.batch_size)",
        "    return self.ted",
        "",
        "def on_save_checkpoint(self, checkpoint):",
        "    checkpoint['generator'] = torch.get_rng_state()",
        "",
        "def on_load_checkpoint(self, checkpoint):",
        "    torch.set_rng_state(checkpoint['generator'])",
        "",
    ),
    (
        "at",
        "^        return torch.utils.data.DataLoader\\(\n +dataset=.*$",
        "return self.ted.loader(",
    ),
    ("at", "^            shuffle=True,$"),
    ("after", '"max_epochs": 90,$', "'reload_dataloaders_every_n_epochs': 1,"),
]
FASTAI = [
    (
        "after",
        "^from fastcore.script import",
        "from ted_torch.integrations.fastai import TEDCallback",
    ),
    (
        "at",
        r"metrics=\[accuracy,top_k_accuracy\]",
        "metrics=[accuracy,top_k_accuracy], loss_func=LabelSmoothingCrossEntropy(),",
        "cbs=TEDCallback(prune_ratio=0.7, method='soft_margin'))",
    ),
]
ULTRALYTICS = [
    (
        "after",
        "^from ultralytics import YOLO$",
        "from functools import partial",
        "from ted_torch.integrations.ultralytics import TEDDetectionTrainer",
    ),
    (
        "at",
        r"^model.train\(",
        "trainer = partial(TEDDetectionTrainer, ted={",
        "    'prune_ratio': 0.7, 'method': 'ted_loss', 'multiple_of': 8})",
        "model.train(trainer=trainer, mosaic=0.0, **options)",
    ),
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
        arguments="{data} -a mobilenet_v3_small -b 8 -j 0 --epochs 5 --lr 0.02 "
        "--seed 1 --no-accel",
        data=folders,
        resume="--resume {out}/checkpoint.pth.tar",
        packages=("torch", "torchvision"),
    ),
    "torchvision_classification": Script(
        path="references/classification/train.py",
        edits={"train.py": CLASSIFICATION},
        arguments="--data-path {data} --output-dir {out} --device cpu -j 0 -b 8 "
        "--epochs 5 --model mobilenet_v3_small --lr 0.02 "
        "--lr-scheduler cosineannealinglr --lr-warmup-epochs 1 --train-crop-size 64 "
        "--val-resize-size 64 --val-crop-size 64",
        data=folders,
        **TORCHVISION,
    ),
    "torchvision_segmentation": Script(
        path="references/segmentation/train.py",
        edits={"train.py": SEGMENTATION},
        arguments="--data-path {data} --dataset voc --output-dir {out} --device cpu "
        "-j 0 -b 4 --epochs 5 --model lraspp_mobilenet_v3_large",
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
    "timm": Script(
        page="timm",
        repository="huggingface/pytorch-image-models",
        commit="aa4b5850c1543fa488abf260f18390eda46cf85d",
        path="train.py",
        edits={"train.py": TIMM},
        arguments="--data-dir {data} --output {out} --experiment run --device cpu -j 0 "
        "--model test_resnet --num-classes 6 --img-size 64 -b 8 --grad-accum-steps 2 "
        "--epochs 6 --warmup-epochs 1 --lr 0.05 --sched-on-updates",
        data=folders,
        resume="--resume {out}/run/last.pth.tar",
        packages=("torch", "torchvision", "timm"),
    ),
    "lightning": Script(
        page="lightning",
        repository="Lightning-AI/pytorch-lightning",
        commit="7f0c3436cd3f6ad3753125672024fc415cbcb414",
        path="examples/pytorch/domain_templates/imagenet.py",
        edits={"imagenet.py": LIGHTNING},
        arguments="fit --model.data_path {data} --model.arch mobilenet_v3_small "
        "--model.batch_size 8 --model.workers 0 --model.lr 0.02 "
        "--trainer.max_epochs 5 --trainer.accelerator cpu "
        "--trainer.default_root_dir {out}",
        data=folders,
        resume="--ckpt_path {out}/checkpoints/*.ckpt",
        packages=("torch", "torchvision", "lightning"),
    ),
    "fastai": Script(
        page="fastai",
        repository="fastai/fastai",
        commit="52ff7b4bf5a81e56068556ee9905e16da6a9f83b",
        path="nbs/examples/train_imagenette.py",
        edits={"train_imagenette.py": FASTAI},
        needed={  # fastcore has no `Param` any more
            "train_imagenette.py": [
                ("after", "^from fastcore.script", "Param = lambda text, kind: kind")
            ]
        },
        arguments="--epochs 5 --bs 8 --size 64 --arch xresnet18 --workers 0",
        data=lambda folder: folders(folder / "data" / "imagenette2-320"),
        remark="The script can't resume.",
        packages=("torch", "fastai"),
        framework="fastai",
        environment={"FASTAI_HOME": "{data}"},
    ),
    "ultralytics": Script(
        page="ultralytics",
        repository="",
        commit="",
        path="own/yolo.py",
        edits={"yolo.py": ULTRALYTICS},
        arguments="model=yolo11n.yaml data={data}/data.yaml epochs=5 batch=8 nbs=8 "
        "imgsz=32 project={out} name=run workers=0 plots=False val=False verbose=False "
        "device=cpu",
        data=yolo,
        resume="model={out}/run/weights/last.pt resume=True",
        remark="Ultralytics resumes from averaged weights in half precision.",
        packages=("torch", "ultralytics"),
        environment={
            "YOLO_CONFIG_DIR": "{data}",
            "YOLO_OFFLINE": "true",
            "YOLO_AUTOINSTALL": "false",
            "YOLO_VERBOSE": "false",
        },
    ),
}
