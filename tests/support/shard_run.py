"""One process of runs in which each rank owns its data; torchrun starts it."""

from __future__ import annotations

import json

import torch
import torch.distributed as dist
from rank_run import counted, join, refusal
from ted_torch import TED, find_shard
from torch.nn.parallel import DistributedDataParallel
from torch.utils.data import DataLoader, Subset
from torch_runs import cross_entropy, labelled, two_parts

from ted_core import (
    CheckpointError,
    Constant,
    EpochError,
    Random,
    SoftTop,
    Static,
    TopScore,
)

SIZES, EPOCHS, BATCH = (40, 27), 6, 4


class Own(Random):
    """A strategy of one's own, which knows nothing of shards."""

    over_shards = False


def part(rank, sizes=SIZES):
    first = sum(sizes[:rank])
    return Subset(labelled(sum(sizes)), range(first, first + sizes[rank]))


def session(at, balance="exact", **options):
    data = part(at)
    options = {
        "schedule": Constant(0.6),
        "strategy": TopScore(),
        "signal": "mask_gradient",
        "seed": 4,
        **options,
    }
    shard = find_shard(data, balance=balance)
    return TED(data, epochs=EPOCHS, shard=shard, **options)


def run(ted, *, stop=None, rate=0.0):
    """Train to the end, or `stop` steps into an epoch: what each epoch was."""
    net = DistributedDataParallel(torch.nn.Sequential(*two_parts()))
    optimizer = torch.optim.SGD(net.parameters(), lr=rate)
    loader = DataLoader(ted.dataset, batch_size=BATCH, sampler=ted.sampler)
    epochs = []
    for epoch in range(ted.epoch, EPOCHS):
        ted.set_epoch(epoch)
        plan = ted.pruner.plan()
        row = {"scores": ted.pruner.scores.tolist(), "order": plan.order.tolist()}
        row |= {"visited": plan.visited, "imbalance": plan.imbalance}
        row["scale"] = plan.loss_scale
        steps = 0
        for ids, (x, y) in loader:
            if stop == (epoch, steps):
                return epochs
            z = net(x)
            loss = ted.loss(cross_entropy(z, y), mask=z, ids=ids)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            steps += 1
        epochs.append({**row, "steps": steps})
    ted.finish()
    return epochs


def resumed(rank, folder, record, **options):
    """Kill a run in the middle of an epoch; give what goes on from its state."""
    broken = session(rank, **options)
    run(broken, stop=(3, 2))
    state, calls = counted(broken.state_dict)
    record["calls of state_dict"] = calls
    torch.save(state, folder / f"{rank}.pt")
    again = session(rank, **options)
    loaded = torch.load(folder / f"{rank}.pt", weights_only=True)
    _, calls = counted(lambda: again.load_state_dict(loaded))
    record["calls of load_state_dict"] = calls
    return run(again), again.pruner.scores.tolist()


def refusals(rank, size, folder):
    other = torch.load(folder / f"{(rank + 1) % size}.pt", weights_only=True)
    taken = session(rank)
    odd = session(rank, seed=4 + (rank == 1))
    soft = session(rank, strategy=SoftTop() if rank == 1 else TopScore())
    behind = session(rank)
    mine = torch.load(folder / f"{rank}.pt", weights_only=True)
    if rank == 1:
        behind.load_state_dict(mine)
    whole = TED(part(rank), epochs=EPOCHS) if rank == 1 else None
    return {
        "another rank": refusal(lambda: taken.load_state_dict(other), CheckpointError),
        "other seed": refusal(lambda: odd.set_epoch(0), EpochError),
        "other strategy": refusal(lambda: soft.set_epoch(0), EpochError),
        "other epoch": refusal(lambda: behind.set_epoch(behind.epoch), EpochError),
        "other mode": refusal(
            lambda: session(rank) if whole is None else whole.set_epoch(0), EpochError
        ),
        "other balance": refusal(
            lambda: session(rank, "per_rank" if rank else "exact"), EpochError
        ),
        "no such shard": refusal(
            lambda: session(rank, num_replicas=2, rank=rank), ValueError
        ),
        "uneven": refusal(lambda: find_shard(range(1 + 999 * rank)), ValueError),
    }


def uneven(rank, best):
    """Train where the last rank's samples are among the worst, but for the `best`."""
    scores = torch.arange(SIZES[rank]) - 1000.0 * rank
    scores[:best] += 2000
    strategy = Static(scores)
    ted = session(rank, strategy=strategy)
    epochs = run(ted, rate=0.0)
    broken, again = session(rank, strategy=strategy), session(rank, strategy=strategy)
    run(broken, stop=(1, 4))
    again.load_state_dict(broken.state_dict())
    rest = run(again)
    return {
        "epochs": epochs,
        "observed": ted.pruner.report().observed.tolist(),
        "resumed": again.pruner.report().observed.tolist(),
        "steps left": rest[0]["steps"],
    }


def lost(rank):
    """Close an epoch in which one rank's only value is not finite."""
    ted = session(rank, schedule=Constant(0.6, warmup=1))
    ted.set_epoch(0)
    z = torch.ones(1, 4, requires_grad=True) * (float("nan") if rank else 1)
    ted.loss(z.sum(1), mask=z, ids=torch.tensor([2])).backward()
    ted.set_epoch(1)
    return ted.pruner.report().nonfinite.tolist()


def main(rank, size, folder):
    """Run all on one process of a group, and write what it saw."""
    torch.set_num_threads(1)
    join(rank, size, folder)
    record = {}
    ted = session(rank)
    record["epochs"], record["calls"] = counted(lambda: run(ted))
    record["scores"] = ted.pruner.scores.tolist()
    record["most steps"] = ted.pruner.max_total_steps(BATCH)
    record["total steps"] = refusal(lambda: ted.total_steps(BATCH), ValueError)
    record["resumed"] = resumed(rank, folder, record)
    dist.barrier()
    record["refusals"] = refusals(rank, size, folder)
    record["none"], record["few"] = uneven(rank, 0), uneven(rank, 3)
    record["lost"] = lost(rank)
    ted = session(rank, "per_rank", strategy=SoftTop())
    record["foretold"] = ted.total_steps(BATCH)
    record["per rank"] = run(ted)
    record["soft"] = run(session(rank, strategy=SoftTop(sharpness=2)))
    (folder / f"{rank}.json").write_text(json.dumps(record))
    dist.destroy_process_group()
