"""Runs of Accelerate's loops, alone or as one of several processes."""

from __future__ import annotations

import json
from functools import partial

import torch
from accelerate import Accelerator, DataLoaderConfiguration
from rank_run import join, refusal
from ted_torch.integrations.accelerate import AcceleratedTED
from torch import nn
from torch.nn import functional as F  # noqa: N812
from torch.utils.data import DataLoader, TensorDataset

from ted_core import CheckpointError, run_metrics

N, EPOCHS, BATCH, ACCUMULATION = 37, 5, 4, 2
LOADING = {"plain": {}, "split": {"split_batches": True}, "dealt": {"dispatch": True}}


def data(n=N):
    draw = torch.Generator().manual_seed(3)
    x = torch.randn(n, 5, generator=draw)
    return TensorDataset(x, torch.randint(0, 3, (n,), generator=draw))


class Run:
    """A loop over epochs that may stop and go on.

    Parameters
    ----------
    split_batches, dispatch : bool, default False
        How Accelerate deals out the batches.
    size : int, default BATCH
        Samples of a batch.
    workers : int, default 0
        Processes that load.
    """

    def __init__(self, *, split_batches=False, dispatch=False, size=BATCH, workers=0):
        loading = DataLoaderConfiguration(
            split_batches=split_batches, dispatch_batches=dispatch or None
        )
        self.accelerator = Accelerator(
            cpu=True,
            gradient_accumulation_steps=ACCUMULATION,
            dataloader_config=loading,
        )
        self.data = data()
        self.ted = AcceleratedTED(
            self.accelerator, self.data, epochs=EPOCHS, batch_size=size, prune_ratio=0.6
        )
        torch.manual_seed(1)
        net = nn.Sequential(nn.Linear(5, 8), nn.Dropout(0.2), nn.Linear(8, 3))
        optimizer = torch.optim.SGD(net.parameters(), lr=0.1, momentum=0.9)
        length = self.ted.scheduler_steps()
        rates = torch.optim.lr_scheduler.LinearLR(optimizer, 1.0, 0.0, length)
        loader = DataLoader(
            self.ted.dataset,
            size,
            sampler=self.ted.sampler,
            num_workers=workers,
            # Or each new iterator would draw from what dropout draws from.
            generator=torch.Generator(),
        )
        prepared = self.accelerator.prepare(net, optimizer, rates, loader)
        self.net, self.optimizer, self.rates, self.loader = prepared
        self.accelerator.register_for_checkpointing(self.ted)
        self.seen, self.steps, self.together, self.metrics = {}, 0, True, []

    def __call__(self, save=None, folder=None):
        """Train to the end, or stop with a state saved after (epoch, batch)."""
        for epoch in range(self.ted.epoch, EPOCHS):
            self.ted.set_epoch(epoch)
            self.metrics.append(run_metrics(self.ted.pruner))
            if save == (epoch, 0):
                self.accelerator.save_state(folder)
                return self
            self.seen[epoch] = []
            for batch, (ids, (x, y)) in enumerate(self.loader, 1):
                self.together &= torch.equal(x, self.data.tensors[0][ids])
                self.step(ids, x, y)
                if save == (epoch, batch):
                    self.accelerator.save_state(folder)
                    return self
        self.ted.finish()
        return self

    def step(self, ids, x, y):
        self.seen[self.ted.epoch].append(ids.tolist())
        with self.accelerator.accumulate(self.net):
            z = self.net(x)
            losses = F.cross_entropy(z, y, reduction="none")
            self.accelerator.backward(
                self.ted.loss(losses, mask=z, ids=ids, logits=z, labels=y)
            )
            self.optimizer.step()
            self.rates.step()
            self.optimizer.zero_grad()
        self.steps += self.accelerator.sync_gradients

    def load(self, folder):
        self.accelerator.load_state(folder)
        return self

    def facts(self):
        net = self.accelerator.unwrap_model(self.net)
        return {
            "seen": list(self.seen.items()),
            "together": self.together,
            "steps": self.steps,
            "rate": self.rates.get_last_lr(),
            "total": self.ted.total_steps(BATCH, accumulation=ACCUMULATION),
            "kept": self.ted.pruner.schedule_table()["kept"].tolist(),
            "scores": self.ted.pruner.scores.tolist(),
            "visits": self.ted.pruner.update_counts.tolist(),
            "weights": [part.flatten().tolist() for part in net.parameters()],
        }


def saved(run, place, folder):
    """Stop a run at a place, and go on with another."""
    run().__call__(place, folder)
    return run().load(folder)().facts()


def main(rank, size, folder):
    """Run all on one process of a group, and write what it saw."""
    torch.set_num_threads(1)
    join(rank, size, folder)
    record = {name: Run(**options)().facts() for name, options in LOADING.items()}
    # Steps are not cut: a gradient that waits for the next batch is saved nowhere.
    places = {"between": (2, 0), "at an end": (3, 4), "within": (3, 2)}
    for name, place in places.items():
        record[name] = saved(Run, place, folder / name)
    dealt = partial(Run, **LOADING["dealt"])
    record["dealt, between"] = saved(dealt, places["between"], folder / "dealt")
    state = torch.load(folder / "within" / "custom_checkpoint_0.pkl", weights_only=True)
    alone = Run()
    alone.ted.ranks = type(alone.ted.ranks)()
    record["another world"] = refusal(
        lambda: alone.ted.load_state_dict(state), CheckpointError
    )
    (folder / f"{rank}.json").write_text(json.dumps(record))
    alone.accelerator.end_training()
