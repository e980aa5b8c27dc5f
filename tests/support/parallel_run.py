"""One process of a training with DDP or FSDP2; torchrun starts it, a test reads it."""

from __future__ import annotations

import json
from contextlib import nullcontext

import torch
import torch.distributed as dist
from rank_run import join
from ted_torch import TED
from torch.distributed.device_mesh import init_device_mesh
from torch.distributed.fsdp import fully_shard
from torch.nn.parallel import DistributedDataParallel
from torch.utils.data import DataLoader
from torch_runs import cross_entropy, labelled, two_parts

import ted_core

N, EPOCHS, BATCH = 64, 5, 8


def distributed_data_parallel(net):
    return DistributedDataParallel(net)


def fully_sharded(net):
    mesh = init_device_mesh("cpu", (dist.get_world_size(),))
    for part in net:
        fully_shard(part, mesh=mesh)
    return fully_shard(net, mesh=mesh)


WRAPS = {"DDP": distributed_data_parallel, "FSDP2": fully_sharded}
SITES = ("logits", "input")


def trained(wrap, site, *, ranks=1, every=1, quiet=False):
    """Train with SGD, a step for `every` batches, `quiet` under DDP's `no_sync`."""
    ted = TED(
        labelled(N),
        epochs=EPOCHS,
        schedule=ted_core.Constant(0.5),
        strategy=ted_core.TopScore(),
        signal="mask_gradient",
        multiple_of=BATCH,
        seed=4,
    )
    net = wrap(torch.nn.Sequential(*two_parts()))
    optimizer = torch.optim.SGD(net.parameters(), lr=0.1)
    loader = DataLoader(ted.dataset, batch_size=BATCH // ranks, sampler=ted.sampler)
    orders, steps = [], 0
    for epoch in range(EPOCHS):
        ted.set_epoch(epoch)
        orders.append(ted.pruner.plan().order.tolist())
        for batch, (ids, (x, y)) in enumerate(loader, start=1):
            last = batch % every == 0 or batch == len(loader)
            with net.no_sync() if quiet and not last else nullcontext():
                inputs = ted.mask(x, ids=ids) if site == "input" else x
                z = net(inputs)
                mask = z if site == "logits" else None
                loss = ted.loss(cross_entropy(z, y), mask=mask, ids=ids)
                (loss / every).backward()
            if last:
                optimizer.step()
                optimizer.zero_grad()
                steps += 1
    ted.finish()
    x, y = labelled(N).tensors
    with torch.no_grad():
        losses = cross_entropy(net(x), y)
    return {
        "orders": orders,
        "scores": ted.pruner.scores.tolist(),
        "losses": losses.tolist(),
        "steps": [steps, ted.total_steps(BATCH // ranks, accumulation=every)],
    }


def main(rank, size, folder):
    """Run all on one process of a group, and write what it saw."""
    torch.set_num_threads(1)
    join(rank, size, folder)
    record = {
        f"{name} {site}": trained(wrap, site, ranks=size)
        for name, wrap in WRAPS.items()
        for site in SITES
    }
    for name, quiet in (("accumulated", False), ("accumulated, no_sync", True)):
        record[name] = trained(
            distributed_data_parallel, "logits", ranks=size, every=2, quiet=quiet
        )
    (folder / f"{rank}.json").write_text(json.dumps(record))
    dist.destroy_process_group()
