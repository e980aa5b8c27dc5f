"""Runs of Lightning's trainer on one of several processes."""

from __future__ import annotations

import json
import warnings
from functools import partial

import torch
from lightning.pytorch.callbacks import Callback, ModelCheckpoint
from lightning_runs import BATCH, Classifier, fit, make_ted
from rank_run import join


class Plans(Callback):
    """Note each epoch's order."""

    def __init__(self, ted):
        self.ted, self.orders = ted, {}

    def on_train_batch_start(self, trainer, *_):
        """Note the epoch's order."""
        order = self.ted.pruner.plan().order.tolist()
        self.orders.setdefault(trainer.current_epoch, order)


def run(*callbacks, drop_last=False, **options):
    """Train under DDP and give what this process saw."""
    ted = make_ted()
    plans = Plans(ted)
    options = {"use_distributed_sampler": False, **options}
    size = torch.distributed.get_world_size()
    options |= {"module": partial(Classifier, drop_last=drop_last)}
    net, ted, trainer = fit(
        plans, *callbacks, ted=ted, strategy="ddp", devices=size, **options
    )
    weights = b"".join(p.detach().numpy().tobytes() for p in net.parameters())
    return {
        "orders": net.orders(),
        "plans": plans.orders,
        "end": [ted.pruner.scores.tobytes().hex(), weights.hex()],
        "steps": trainer.global_step,
        "total_steps": ted.total_steps(BATCH, drop_last=drop_last),
        "rate": net.rate.get_last_lr()[0],
    }


def main(rank, size, folder):
    """Run all on one process of a group, and write what it saw."""
    torch.set_num_threads(1)
    join(rank, size, folder)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        for quiet in ("isinstance.treespec", ".*does not have many", "Be aware that"):
            warnings.filterwarnings("ignore", f".?{quiet}")
        record = runs(folder / "steps")
    record["middle"] = str(folder / "steps" / "step=7.ckpt")
    (folder / f"{rank}.json").write_text(json.dumps(record), encoding="utf-8")
    torch.distributed.destroy_process_group()


def runs(folder):
    """Give a run never stopped, one that Lightning shares, and resumed ones."""
    keep = ModelCheckpoint(
        folder, filename="{step}", save_top_k=-1, every_n_train_steps=1
    )
    record = {"whole": run(keep)}
    record["shared by Lightning"] = run(use_distributed_sampler=True)
    record["drop_last"] = run(drop_last=True)
    names = {number: folder / f"step={number}.ckpt" for number in (2, 7, 10)}
    record["resumed"] = {number: run(ckpt_path=name) for number, name in names.items()}
    return record
