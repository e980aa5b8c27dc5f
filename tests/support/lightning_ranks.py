"""Train Lightning's run on every rank of `torchrun`, and write what each rank saw."""

from __future__ import annotations

import argparse
import json
import warnings
from pathlib import Path

import torch
from lightning.pytorch.callbacks import Callback, ModelCheckpoint
from lightning_runs import BATCH, fit, make_ted


class Plans(Callback):
    """Note each epoch's order."""

    def __init__(self, ted):
        self.ted, self.orders = ted, {}

    def on_train_batch_start(self, trainer, *_):
        """Note the epoch's order."""
        order = self.ted.pruner.plan().order.tolist()
        self.orders.setdefault(trainer.current_epoch, order)


def run(*callbacks, **options):
    """Train under DDP and give what this rank saw."""
    ted = make_ted()
    plans = Plans(ted)
    options = {"use_distributed_sampler": False, **options}
    net, ted, trainer = fit(
        plans, *callbacks, ted=ted, strategy="ddp", devices=2, **options
    )
    weights = b"".join(p.detach().numpy().tobytes() for p in net.parameters())
    return {
        "orders": net.orders(),
        "plans": plans.orders,
        "end": [ted.pruner.scores.tobytes().hex(), weights.hex()],
        "steps": trainer.global_step,
        "total_steps": ted.total_steps(BATCH),
        "rate": net.rate.get_last_lr()[0],
    }


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("folder", type=Path)
    folder = parser.parse_args().folder
    torch.set_num_threads(1)
    warnings.simplefilter("error")
    for quiet in ("isinstance.treespec", ".*does not have many", "Be aware that when"):
        warnings.filterwarnings("ignore", f".?{quiet}")
    keep = ModelCheckpoint(
        folder, filename="{step}", save_top_k=-1, every_n_train_steps=1
    )
    record = {"whole": run(keep)}
    record["shared by the host's word"] = run(use_distributed_sampler=True)
    names = {number: folder / f"step={number}.ckpt" for number in (2, 7, 10)}
    record["resumed"] = {number: run(ckpt_path=name) for number, name in names.items()}
    rank = torch.distributed.get_rank()
    if rank == 0:
        names[7].rename(folder / "middle.ckpt")
    (folder / f"{rank}.json").write_text(json.dumps(record), encoding="utf-8")
    torch.distributed.destroy_process_group()


if __name__ == "__main__":
    main()
