"""Scripts for pictures."""

from __future__ import annotations

import struct

import numpy as np
from run import Script


def digits(folder, count=640):
    """Write pictures in the four files of MNIST."""
    raw = folder / "MNIST" / "raw"
    raw.mkdir(parents=True)
    rng = np.random.default_rng(0)
    for name, size in (("train", count), ("t10k", 64)):
        labels = rng.integers(0, 10, size).astype(np.uint8)
        pictures = rng.integers(0, 60, (size, 28, 28)).astype(np.uint8)
        for picture, label in zip(pictures, labels, strict=True):
            picture[2 * label : 2 * label + 6, 6:22] += 150
        head = struct.pack(">IIII", 2051, size, 28, 28)
        (raw / f"{name}-images-idx3-ubyte").write_bytes(head + pictures.tobytes())
        head = struct.pack(">II", 2049, size)
        (raw / f"{name}-labels-idx1-ubyte").write_bytes(head + labels.tobytes())


SCRIPTS = {
    "mnist": Script(
        page="pytorch",
        repository="pytorch/examples",
        commit="77f55b912142e11fcfdf5b530231fb9c52f181e8",
        path="mnist/main.py",
        edits={
            "main.py": [
                ("after", "^import torch$", "from ted_torch import TED"),
                (
                    "at",
                    r"^def train\(args",
                    "def train(",
                    "        ted, args, model, device, train_loader, optimizer, epoch):",
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
                    "          device=device, multiple_of=args.batch_size)",
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
            ],
        },
        arguments="--epochs 5 --no-accel",
        data=digits,
        remark="The script can't resume.",
        packages=("torch", "torchvision"),
    ),
}
