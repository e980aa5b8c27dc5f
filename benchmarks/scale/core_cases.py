"""The cases: each sets itself up and returns what is measured, and its facts."""

from __future__ import annotations

import os
from functools import partial

import numpy as np

import ted_core as ted

__all__ = ["CASES"]

KEEP = 0.5
PIECE = 1 << 24
BATCH = 4096


def scores(n):
    return np.random.default_rng(0).random(n, dtype=np.float32)


def scored(n, strategy=None):
    """Return a pruner whose samples all have a score, before its first plan."""
    return ted.Pruner(
        n,
        epochs=10,
        schedule=ted.Constant(KEEP),
        strategy=ted.TopScore() if strategy is None else strategy,
        initial_scores=scores(n),
    )


def book(pruner):
    """Return the bytes of the per-sample state."""
    state = pruner.state_dict()
    return sum(v.nbytes for k, v in state.items() if k.startswith("scores."))


def nothing(_):
    return {}


def plan(make, n, _):
    pruner = scored(n, make())

    def facts(made):
        return {
            "kept": len(made),
            "state bytes": book(pruner),
            "order bytes": made.order.nbytes,
        }

    return pruner.plan, facts


def observe(n, _):
    """All batches of an epoch."""
    pruner = scored(n)
    order, values = pruner.plan().order, np.ones(BATCH, np.float32)

    def epoch():
        for start in range(0, order.size, BATCH):
            ids = order[start : start + BATCH]
            pruner.observe(ids, values[: ids.size])

    return epoch, lambda _: {"batches": -(-order.size // BATCH), "batch": BATCH}


def close(n, _):
    pruner = scored(n)
    order = pruner.plan().order
    for start in range(0, order.size, PIECE):
        ids = order[start : start + PIECE]
        pruner.observe(ids, np.ones(ids.size, np.float32))
    return pruner.advance, nothing


def checkpoint(n, folder):
    pruner, path = scored(n), folder / "state.npz"

    def save():
        ted.save_state(path, pruner.state_dict())

    return save, lambda _: {"bytes": path.stat().st_size, "state bytes": book(pruner)}


def restore(n, folder):
    pruner, path = scored(n), folder / "state.npz"
    ted.save_state(path, pruner.state_dict())
    return lambda: pruner.load_state_dict(ted.load_state(path)), nothing


def plain_write(n, folder):
    """As many bytes as the checkpoint has arrays, in order, to the disk."""
    size = 7 * n
    data = np.random.default_rng(0).bytes(min(size, PIECE))
    path = folder / "plain.bin"

    def write():
        with path.open("wb") as file:
            for start in range(0, size, len(data)):
                file.write(memoryview(data)[: size - start])
            file.flush()
            os.fsync(file.fileno())

    return write, lambda _: {"bytes": path.stat().st_size}


def partition(n, _):
    array = scores(n)
    return lambda: np.partition(array, n - int(KEEP * n)), nothing


def permutation(size, dtype, n, _):
    generator = np.random.default_rng(0)
    ids = np.arange(size(n), dtype=dtype)
    return lambda: generator.permutation(ids), nothing


def random_sampler(n, _):
    import torch  # noqa: PLC0415 - the other cases do without

    torch.randperm(10).tolist()
    return lambda: torch.randperm(n).tolist(), nothing


CASES = {
    "TopScore: plan and order": partial(plan, ted.TopScore),
    "SoftTop: plan and order": partial(plan, ted.SoftTop),
    "Random: plan and order": partial(plan, ted.Random),
    "observe an epoch": observe,
    "close an epoch": close,
    "checkpoint": checkpoint,
    "plain write and fsync": plain_write,
    "restore": restore,
    "np.partition": partition,
    "Generator.permutation of the kept ids": partial(
        permutation, lambda n: int(KEEP * n), np.int32
    ),
    "Generator.permutation of n": partial(permutation, lambda n: n, np.int64),
    "torch.randperm(n).tolist()": random_sampler,
}
