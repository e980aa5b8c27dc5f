"""The public functions of the PyTorch adapter, and what they may be given."""

from __future__ import annotations

import torch
from fuzzing import judge_load, junk
from hypothesis import strategies as st
from ted_torch import (
    TED,
    CollateWithIds,
    EpochBuffer,
    Ranks,
    TEDSampler,
    WithIds,
    find_shard,
    segment_losses,
    segment_mask,
)
from ted_torch._losses import per_sample
from ted_torch.ranks import find_ranks
from torch.utils.data import DataLoader
from torch_runs import labelled

from ted_core import Pruner, TopScore

__all__ = ["CASES", "bits", "changed", "judge_state", "part_way", "session", "things"]

DATA = labelled(20)


def session():
    return TED(DATA, epochs=6, signal="loss", strategy=TopScore())


def tensors():
    """Draw tensors of other shapes and dtypes than asked for."""
    dtypes = [torch.float32, torch.float64, torch.int64, torch.bool, torch.complex64]
    shapes = st.lists(st.integers(0, 4), max_size=3)
    made = st.builds(
        lambda s, d: torch.ones(s, dtype=d), shapes, st.sampled_from(dtypes)
    )
    return st.one_of(made, st.just(torch.full((4,), float("nan"))))


def things():
    return st.one_of(junk(), tensors())


def loss(losses, ids, mask, weights, valid):
    """Take one step of a session that ranks by the mask gradient."""
    ted = TED(DATA, epochs=6, signal="mask_gradient", strategy=TopScore())
    ted.set_epoch(0)
    ted.loss(losses, ids=ids, mask=mask, weights=weights, valid=valid)


def by_logits(losses, **inputs):
    ted = TED(DATA, epochs=6, signal="grand", strategy=TopScore())
    ted.set_epoch(0)
    ted.loss(losses, ids=torch.arange(4), **inputs)


def masked(hidden, ids):
    """Take one step with a mask at a tensor before the loss."""
    ted = TED(DATA, epochs=6, signal="mask_gradient", strategy=TopScore())
    ted.set_epoch(0)
    found = ted.mask(hidden, ids=ids)
    parts = found if isinstance(found, list) else [found]
    losses = sum(part.reshape(part.shape[0], -1).sum(1) for part in parts)
    ted.loss(losses, ids=ids).backward()


def checked(loader, optimizer, scheduler):
    ted = session()
    found = ted.check(
        DataLoader(ted.dataset, 4, sampler=ted.sampler) if loader is OWN else loader,
        optimizer=optimizer,
        scheduler=scheduler,
    )
    assert str(found)


def counted(batch_size, **options):
    session().total_steps(batch_size, **options)


def entered(epoch):
    session().set_epoch(epoch)


def sampled(pruner, ranks):
    list(TEDSampler(pruner, ranks=ranks))


def grown(shape):
    return torch.ones(shape, requires_grad=True) * 1


SEGMENTS = st.just(torch.tensor([[0, 0, 1], [1, -1, -1]]))
IDS, OPTIMIZER = torch.arange(4), torch.optim.SGD([torch.ones(2, requires_grad=True)])
OWN = "the session's own loader"
SCHEDULER = torch.optim.lr_scheduler.CosineAnnealingLR(OPTIMIZER, 9)
LOSSES = st.just(None).map(lambda _: grown(4))
CASES = {
    "TED": (
        TED,
        {
            "dataset": st.just(DATA),
            "epochs": st.integers(2, 9),
            "buffer": st.sampled_from(["device", "cpu"]),
            "num_replicas": st.sampled_from([None, 1, 2]),
            "rank": st.sampled_from([None, 0, 1]),
            "prune_ratio": st.floats(0, 0.9),
            "seed": st.integers(0, 9),
            "scale_loss": st.booleans(),
            "fingerprint": st.sampled_from([None, 3, "fold 3"]),
        },
    ),
    "set_epoch": (entered, {"epoch": st.integers(0, 1)}),
    "loss": (
        loss,
        {
            "losses": LOSSES,
            "ids": st.just(torch.arange(4)),
            "mask": LOSSES.map(lambda z: grown((4, 3)) * z[:, None]),
            "weights": st.sampled_from([None, torch.ones(4)]),
            "valid": st.sampled_from([None, torch.ones(4, dtype=torch.bool)]),
        },
    ),
    "loss of logits": (
        by_logits,
        {
            "losses": LOSSES,
            "logits": LOSSES.map(lambda z: grown((4, 3)) * z[:, None]),
            "labels": st.just(torch.arange(4) % 3),
            "hidden": st.just(torch.ones(4, 5)),
            "bias": st.booleans(),
        },
    ),
    "mask": (
        masked,
        {"hidden": LOSSES.map(lambda _: grown((4, 3))), "ids": st.just(IDS)},
    ),
    "check": (
        checked,
        {
            "loader": st.just(OWN),
            "optimizer": st.sampled_from([None, OPTIMIZER]),
            "scheduler": st.sampled_from([None, SCHEDULER]),
        },
    ),
    "total_steps": (
        counted,
        {
            "batch_size": st.integers(1, 9),
            "accumulation": st.integers(1, 3),
            "world_size": st.integers(1, 3),
            "drop_last": st.booleans(),
        },
    ),
    "per_sample": (per_sample, {"losses": LOSSES, "valid": st.none()}),
    "segment_mask": (
        segment_mask,
        {
            "hidden": LOSSES.map(lambda _: grown((2, 3, 4))),
            "segments": SEGMENTS,
            "count": st.integers(2, 9),
        },
    ),
    "segment_losses": (
        segment_losses,
        {
            "losses": LOSSES.map(lambda _: grown((2, 3))),
            "segments": SEGMENTS,
            "count": st.integers(2, 9),
            "valid": st.sampled_from([None, torch.ones(2, 3, dtype=torch.bool)]),
        },
    ),
    "find_shard": (
        find_shard,
        {"dataset": st.just(DATA), "balance": st.sampled_from(["exact", "per_rank"])},
    ),
    "find_ranks": (
        find_ranks,
        {"num_replicas": st.integers(1, 4), "rank": st.integers(0, 3)},
    ),
    "EpochBuffer": (EpochBuffer, {"n": st.integers(1, 9)}),
    "WithIds": (
        WithIds,
        {"dataset": st.just(DATA), "ids": st.sampled_from([None, "id", 2, (1, "id")])},
    ),
    "CollateWithIds": (CollateWithIds, {"collate": st.just(list)}),
    "TEDSampler": (
        sampled,
        {
            "pruner": st.just(Pruner(9, epochs=5)),
            "ranks": st.sampled_from([None, Ranks(2, 1)]),
        },
    ),
}


def part_way():
    """Give a session in the middle of its second epoch."""
    ted = session()
    for epoch in (0, 1):
        ted.set_epoch(epoch)
        ids = torch.as_tensor(ted.pruner.plan().order[: 20 >> 2 * epoch].copy()).long()
        losses = torch.ones(len(ids), requires_grad=True) * ids
        ted.loss(losses, ids=ids).backward()
    return ted


@st.composite
def changed(draw, state):
    """Draw a state in which one or two fields are missing, new or other ones."""
    state = dict(state)
    for _ in range(draw(st.integers(1, 2))):
        name = draw(st.sampled_from(list(state)))
        how = draw(st.sampled_from(["junk", "drop", "add", "near"]))
        value = state[name]
        if how == "drop":
            del state[name]
        elif how == "add":
            state[draw(st.one_of(st.text(max_size=9), st.integers(), st.none()))] = 1
        elif how == "junk":
            state[name] = draw(things())
        elif isinstance(value, torch.Tensor) and value.numel():
            state[name] = value.clone()
            content = state[name].reshape(-1).view(torch.uint8)
            content[0] ^= draw(st.integers(1, 255))
        elif isinstance(value, int):
            state[name] = draw(st.integers(-2, 9))
    return state


def bits(state):
    return {
        name: (value.dtype, value.numpy().tobytes())
        if isinstance(value, torch.Tensor)
        else (type(value), value)
        for name, value in state.items()
    }


def judge_state(ted, state):
    """Load; give "answer" if it went in whole, the error's name if nothing did."""
    return judge_load(ted, state, bits)
