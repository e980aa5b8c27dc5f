"""A training with Ray Train: by workers of a cluster, or by processes of torchrun."""

from __future__ import annotations

import json
import os
import signal
import tempfile
import warnings
from pathlib import Path

import ray
import ray.train.torch
import torch
from ray.train import Checkpoint, FailureConfig, RunConfig, ScalingConfig
from ray.train.torch import TorchTrainer
from ted_torch import TED
from torch.nn import functional as F  # noqa: N812
from torch.utils.data import DataLoader, TensorDataset

from ted_core import EpochError, TedWarning

__all__ = ["WORKERS", "fit", "main", "read"]

N, EPOCHS, BATCH, EVERY, LAST, WORKERS = 96, 6, 8, 5, 13, 2


def train(*, checkpoint=None, save=None, last=lambda: False, add_dist_sampler=False):
    """Train as the page tells it; give what must be alike, and what was forwarded."""
    x = torch.randn(N, 5, generator=torch.Generator().manual_seed(0))
    ted = TED(
        TensorDataset(x, (x[:, 0] > 0).long()),
        epochs=EPOCHS,
        prune_ratio=0.6,
        multiple_of=BATCH * WORKERS,
    )
    torch.manual_seed(1)
    model = ray.train.torch.prepare_model(torch.nn.Linear(5, 2))
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1, momentum=0.9)
    steps = ted.total_steps(BATCH)
    scheduler = torch.optim.lr_scheduler.LinearLR(optimizer, 1.0, 0.0, steps)
    loader = DataLoader(ted.dataset, BATCH, sampler=ted.sampler)
    loader = ray.train.torch.prepare_data_loader(
        loader, add_dist_sampler=add_dist_sampler
    )
    parts = {"model": model, "optimizer": optimizer, "scheduler": scheduler}
    rank = ray.train.get_context().get_world_rank()
    if checkpoint:
        with checkpoint.as_directory() as folder:
            saved = torch.load(Path(folder) / f"{rank}.pt", weights_only=True)
        for name, part in (*parts.items(), ("ted", ted)):
            part.load_state_dict(saved[name])
    forwarded, planned = [], []
    for epoch in range(ted.epoch, EPOCHS):
        ted.set_epoch(epoch)
        loader.sampler.set_epoch(epoch)  # as Ray's scripts do
        planned += ted.pruner.plan().order.tolist()
        for ids, (x, y) in loader:
            logits = model(x)
            losses = F.cross_entropy(logits, y, reduction="none")
            loss = ted.loss(losses, mask=logits, ids=ids)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            scheduler.step()
            forwarded += ids.tolist()
            done = scheduler.last_epoch
            if save and done % EVERY == 0:
                state = {name: part.state_dict() for name, part in parts.items()}
                state["ted"] = ted.state_dict(every_process=True)
                folder = tempfile.mkdtemp(dir=save)
                torch.save(state, Path(folder) / f"{rank}.pt")
                ray.train.report({}, checkpoint=Checkpoint.from_directory(folder))
            if done == LAST and last():
                return None
    ted.finish()
    return {
        "scores": ted.pruner.scores.tolist(),
        "weights": [weight.tolist() for weight in model.parameters()],
        "rate": scheduler.get_last_lr(),
        "steps": [scheduler.last_epoch, steps],
        "forwarded": forwarded,
        "planned": planned,
    }


def loop(config):
    """Train once whole, and once stopped in mid-epoch or killed, and resumed."""
    torch.set_num_threads(1)
    rank, folder = ray.train.get_context().get_world_rank(), Path(config["folder"])

    def write(name, record):
        (folder / f"{name}-{rank}.json").write_text(json.dumps(record))

    def last():
        if config["kill"] and rank == 1:
            os.kill(os.getpid(), signal.SIGKILL)
        return not config["kill"]

    checkpoint = ray.train.get_checkpoint()
    if not checkpoint:
        write("whole", train())
        train(save=folder, last=last)
        checkpoint = ray.train.get_checkpoint()
    write("resumed", train(checkpoint=checkpoint))
    if not config["kill"]:
        write("replaced", replaced())


def fit(folder, workers, *, kill):
    """Fit with so many workers; 0 means the processes of torchrun."""
    TorchTrainer(
        loop,
        train_loop_config={"folder": str(folder), "kill": kill},
        scaling_config=ScalingConfig(num_workers=workers),
        run_config=RunConfig(
            storage_path=str(folder), failure_config=FailureConfig(max_failures=1)
        ),
    ).fit()


def read(folder, rank):
    """Give what a worker has written of its runs."""
    files = folder.glob(f"*-{rank}.json")
    return {file.stem.partition("-")[0]: json.loads(file.read_text()) for file in files}


def main(rank, size, folder):
    """Train in Ray's local mode, as one of the processes of torchrun."""
    del size
    fit(folder, 0, kill=False)
    (folder / f"{rank}.json").write_text(json.dumps(read(folder, rank)))


def replaced():
    """Train with the sampler that Ray puts in place of ours; give what is said."""
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always", TedWarning)
        try:
            train(add_dist_sampler=True)
        except EpochError as error:
            return [*(str(one.message) for one in caught), str(error)]
    return []
