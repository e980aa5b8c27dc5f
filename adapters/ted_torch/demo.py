"""How PyTorch trains once for the core's demo: ``python -m ted_torch.demo``."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812 - PyTorch's own habit
from torch.utils.data import BatchSampler, TensorDataset

from ted_core.demo import engine
from ted_core.demo.datasets import Task
from ted_torch.session import TED

__all__ = ["main"]


def fit(
    task: Task,
    *,
    seed: int,
    epochs: int,
    lr: float,
    device: str = "cpu",
    **options: Any,
) -> tuple[float, TED[tuple[Tensor, ...]]]:
    """Train once by SGD, on what TED keeps."""
    x, y = (torch.tensor(part, device=device) for part in (task.x_train, task.y_train))
    with torch.random.fork_rng(devices=[]):  # PyTorch's own generator stays as it was
        torch.manual_seed(seed)
        network = nn.Sequential(
            nn.Linear(x.shape[1], engine.WIDTH),
            nn.ReLU(),
            nn.Linear(engine.WIDTH, engine.WIDTH),
            nn.ReLU(),
            nn.Linear(engine.WIDTH, task.classes),
        ).to(device)
    ted = TED(TensorDataset(x, y), epochs=epochs, seed=seed, device=device, **options)
    # The data are on the device already, so the ids of a batch are all that is loaded.
    batches = BatchSampler(ted.sampler, task.batch_size, drop_last=False)
    optimizer = torch.optim.SGD(
        network.parameters(),
        lr=lr,
        momentum=engine.MOMENTUM,
        nesterov=True,
        weight_decay=engine.WEIGHT_DECAY,
        fused=True,
    )
    scheduler = torch.optim.lr_scheduler.OneCycleLR(
        optimizer,
        max_lr=lr,
        total_steps=ted.total_steps(task.batch_size),
        cycle_momentum=False,
    )
    for epoch in range(epochs):
        ted.set_epoch(epoch)
        for batch in batches:
            ids = torch.tensor(batch)
            labels = y[ids]
            logits = network(x[ids])
            losses = F.cross_entropy(logits, labels, reduction="none")
            loss = ted.loss(losses, ids=ids, logits=logits, labels=labels)
            optimizer.zero_grad()
            torch.autograd.backward(loss)
            optimizer.step()
            scheduler.step()
    ted.finish()
    with torch.no_grad():
        found = network(torch.tensor(task.x_test, device=device)).argmax(dim=1)
    return 100 * float((found.numpy(force=True) == task.y_test).mean()), ted


def main(argv: Sequence[str] | None = None) -> int:
    """Run the demonstration."""
    parser = engine.make_parser("python -m ted_torch.demo", seeds=6)
    parser.add_argument("--device", default="cpu", help="where to train (cpu)")
    arguments = engine.parse(parser, argv)
    try:
        torch.empty(0, device=arguments.device)
    except (RuntimeError, AssertionError):
        parser.error(f"`--device` must be one that is there, got {arguments.device}")
    threads = torch.get_num_threads()
    torch.set_num_threads(arguments.threads)
    try:
        engine.run_demo(parser, arguments, partial(fit, device=arguments.device))
    finally:
        torch.set_num_threads(threads)
    return 0


if __name__ == "__main__":
    sys.exit(main())
