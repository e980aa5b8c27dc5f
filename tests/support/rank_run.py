"""One process of a run on several ranks; torchrun starts it, tests read its records."""

from __future__ import annotations

import json
import warnings
from functools import partial

import torch
import torch.distributed as dist
from ted_torch import TED
from ted_torch.ranks import check_equal_across_ranks, find_ranks, merge
from torch.utils.data import DataLoader
from torch_runs import cross_entropy, labelled, two_parts

from ted_core import CheckpointError, EpochError

N, EPOCHS, BATCH = 67, 6, 4


def session(**options):
    return TED(labelled(N), epochs=EPOCHS, prune_ratio=0.6, seed=4, **options)


def run(ted, *, stop=None):
    """Train a frozen network to the end, or `stop` steps into an epoch."""
    net = torch.nn.Sequential(*two_parts())
    loader = DataLoader(ted.dataset, batch_size=BATCH, sampler=ted.sampler)
    orders, lengths = [], []
    for epoch in range(ted.epoch, EPOCHS):
        ted.set_epoch(epoch)
        orders.append(ted.pruner.plan().order.tolist())
        lengths.append(0)
        for ids, (x, y) in loader:
            if stop == (epoch, lengths[-1]):
                return orders, lengths
            z = net(x)
            ted.loss(cross_entropy(z, y), mask=z, ids=ids).backward()
            lengths[-1] += 1
    ted.finish()
    return orders, lengths


def join(rank, size, folder):
    """Make the group of processes, which meet in a file."""
    store = f"file://{folder}/store"
    dist.init_process_group("gloo", init_method=store, rank=rank, world_size=size)


def counted(function):
    """Count the collectives of a call."""
    calls = []
    names = "all_reduce", "all_gather_object", "barrier"
    kept = {name: getattr(dist, name) for name in names}

    def count(name):
        def wrapped(*args, **kwargs):
            calls.append(name)
            return kept[name](*args, **kwargs)

        return wrapped

    for name in names:
        setattr(dist, name, count(name))
    try:
        return function(), calls
    finally:
        for name in names:
            setattr(dist, name, kept[name])


def refusal(function, error):
    try:
        function()
    except error as raised:
        return str(raised)
    return None


def warnings_of(function):
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        function()
    return [str(one.message) for one in caught]


def resumed_apart(rank):
    """Load what ranks saved at different moments, and what another version plans."""
    record, states = {}, []
    for stop in ((0, 1), (0, 2), (1, 1)):
        ted = session()
        run(ted, stop=stop)
        states.append(ted.state_dict(every_process=True))
    for name, other in (("other position", 1), ("other epoch", 2)):
        ted = session()
        ted.load_state_dict(states[other if rank == 1 else 0])
        record[name] = refusal(partial(ted.set_epoch, ted.epoch), EpochError)
    here = {"version": f"1.{int(rank == 1)}"}
    alone = partial(
        check_equal_across_ranks, here, find_ranks(), device=torch.device("cpu")
    )
    record["other version"] = refusal(alone, EpochError)
    return record


def far_sums(rank, size):
    """Merge buffers beyond the integers of float32."""
    record = {}
    far = 2**24 + 3
    sums, none = torch.zeros(far), torch.zeros(far, dtype=torch.uint8)
    counts, weightless = none.clone(), none.clone()
    weightless[far - size] = 1
    sums[far - 1 - rank], counts[far - 1 - rank] = rank + 0.5, 1
    counters = torch.tensor([2**40 + 1, far])
    parts, counters = merge((sums, counts, none, weightless), counters)
    sums, counts, _, weightless = parts
    record["far weightless"] = weightless.nonzero().ravel().tolist() == [far - size]
    record["far"] = sums[-size:].tolist(), counts[-size:].tolist(), counters.tolist()
    record["far sum"] = float(counts.double().sum())
    return record


def facts(rank, size, folder):
    record = {}
    ted = session()
    (record["orders"], record["lengths"]), calls = counted(lambda: run(ted))
    record["calls"] = calls
    record["scores"] = ted.pruner.scores.tolist()
    record["forwarded"] = ted.savings().forwarded
    record["total_steps"] = ted.total_steps(BATCH)

    broken = session()
    run(broken, stop=(3, 1))
    state, calls = counted(lambda: broken.state_dict(every_process=True))
    record["calls of state_dict"] = calls
    record["open"] = warnings_of(broken.state_dict)
    broken.close_epoch()
    record["closed"] = warnings_of(broken.state_dict)
    moved = session(num_replicas=1, rank=0)
    moved.load_state_dict(broken.state_dict())
    record["moved"] = moved.epoch
    again = session()
    again.load_state_dict(state)
    record["resumed"] = run(again)
    record["resumed scores"] = again.pruner.scores.tolist()
    torch.save(state, folder / f"{rank}.pt")
    dist.barrier()
    other = torch.load(folder / f"{(rank + 1) % size}.pt", weights_only=True)
    record["another rank"] = refusal(
        lambda: session().load_state_dict(other), CheckpointError
    )
    alone = session(num_replicas=1, rank=0)
    record["another world"] = refusal(
        lambda: alone.load_state_dict(state), CheckpointError
    )
    # The order is whole, as for a host that deals out the batches itself.
    alone.set_epoch(0)
    record["whole"] = len(alone.sampler), alone.total_steps(BATCH)

    odd = TED(labelled(N), epochs=EPOCHS, prune_ratio=0.6, seed=4 + (rank == 1))
    record["other seed"] = refusal(lambda: odd.set_epoch(0), EpochError)
    odd = TED(labelled(N + (rank == 1)), epochs=EPOCHS, prune_ratio=0.6)
    record["other n"] = refusal(lambda: odd.set_epoch(0), EpochError)
    record |= resumed_apart(rank)
    lost = session()
    lost.set_epoch(0)
    z = torch.ones(1, 4, requires_grad=True) * 1
    if rank == 1:
        z = z * float("nan")
    ids = torch.tensor([rank])
    lost.loss(z.sum(1), mask=z, ids=ids).backward()
    lost.set_epoch(1)
    record["nonfinite"] = lost.pruner.report().nonfinite.tolist()

    idle = session()
    idle.set_epoch(0)
    record["idle warnings"] = warnings_of(idle.finish)
    record["idle"] = idle.savings().forwarded

    return record | far_sums(rank, size)


def main(rank, size, folder):
    """Run all on one process of a group, and write what it saw."""
    torch.set_num_threads(1)
    early = session()
    join(rank, size, folder)
    record = facts(rank, size, folder)
    record["early"] = refusal(lambda: early.set_epoch(0), EpochError)
    record["early check"] = refusal(lambda: early.check([]), EpochError)
    (folder / f"{rank}.json").write_text(json.dumps(record))
    dist.destroy_process_group()
