"""The runs of `ted_torch.TED` whose saved states are fixtures."""

from __future__ import annotations

import torch
from saved_runs import EPOCHS, FOLDER, N, begun, ended, row, values
from ted_torch import TED, find_shard
from torch.utils.data import DataLoader

__all__ = ["BATCH", "made", "path", "resumed", "total", "train", "written"]

BATCH, SIZES = 4, (24, 16)


def made(kind, *, epochs=EPOCHS, rank=0):
    """Give a fresh session of a kind; of a shard, if the ranks have data of their own.

    Parameters
    ----------
    kind : Kind
        What it is made with.
    epochs : int
        Epochs of the run.
    rank : int
        This process, where there are several.
    """
    options, size = dict(kind.options), N
    if "balance" in kind.more:
        size = SIZES[rank]
        options["shard"] = find_shard(range(size), **kind.more)
    return TED(range(size), epochs=epochs, **options)


def total(ted, ids, *, mixed=False):
    """Give the loss of a batch whose samples have the losses that are their values."""
    shard = ted.pruner.config.shard
    names = ids if shard is None else ids + shard.first
    found = torch.from_numpy(values(names.numpy(), ted.epoch))
    if ted.pruner.config.signal == "mask_gradient":
        z = torch.ones(len(ids), 2, requires_grad=True)
        loss = ted.loss((z * found[:, None]).sum(1) / 2, mask=z, ids=ids)
    elif ted.pruner.config.signal == "margin":
        z = torch.stack([found, torch.zeros(len(ids))], dim=1).requires_grad_()
        loss = ted.loss(z.sum(1), logits=z, ids=ids)
    else:
        which = [(ids, 0.75), (ids.roll(1), 0.25)] if mixed else ids
        loss = ted.loss(found.requires_grad_(), ids=which)
    loss.backward()
    return loss.item()


def train(kind, ted, *, stop=False):
    """Train to the end, or to where the state is kept; give what each epoch was."""
    rows = []
    loader = DataLoader(ted.dataset, batch_size=BATCH, sampler=ted.sampler)
    for epoch in range(ted.epoch, ted.pruner.epochs):
        ted.set_epoch(epoch)
        rows.append({**row(ted.pruner.plan()), "total": 0.0})
        here = epoch == kind.epoch
        if stop and here and not kind.seen:
            return rows
        for step, (ids, _) in enumerate(loader, 1):
            rows[-1]["total"] += total(ted, ids, mixed=kind.mixed and here)
            if stop and here and step == kind.seen:
                return rows
        if stop and here:
            return rows
    ted.finish()
    return rows


def path(name, rank=None):
    """Give the file of a kind's state."""
    rank = "" if rank is None else f".{rank}"
    return FOLDER / f"{name}{rank}.pt"


def written(name, kind, *, rank=None):
    """Write the state of a run that stops; give what it does if it never stops."""
    ted = made(kind, rank=rank or 0)
    train(kind, ted, stop=True)
    torch.save(ted.state_dict(), path(name, rank))
    never = made(kind, rank=rank or 0)
    rows = train(kind, never)[kind.epoch :]
    for one in rows[: bool(kind.seen)]:
        del one["total"]  # only a part of it is left when the run goes on
    return {"loaded": None, "epochs": rows, "ended": ended(never.pruner)}


def resumed(name, kind, *, rank=None):
    """Give what a run does that goes on from its file."""
    ted = made(kind, epochs=EPOCHS + kind.longer, rank=rank or 0)
    state = torch.load(path(name, rank), weights_only=True)
    ted.load_state_dict(state, allow=("epochs",) if kind.longer else ())
    record = {"loaded": begun(ted.pruner)}
    return record | {"epochs": train(kind, ted), "ended": ended(ted.pruner)}
