from __future__ import annotations

import numpy as np
import pytest
import torch
from accelerate import Accelerator
from hypothesis import given
from hypothesis import strategies as st
from ted_torch import TED
from ted_torch.integrations.accelerate import AcceleratedTED
from torch.nn import functional as F  # noqa: N812
from torch.utils.data import DataLoader

from ted_core import CheckpointError, EpochError

EPOCHS, BATCH, N = 5, 4, 50
LENGTHS = [1 + k * 13 % 17 for k in range(N)]
TEXTS = [torch.full((length,), float(k + 1)) for k, length in enumerate(LENGTHS)]


def padded(items):
    return torch.nn.utils.rnn.pad_sequence(items, batch_first=True)


def session(lengths=LENGTHS, **options):
    settings = {"epochs": EPOCHS, "prune_ratio": 0.6, "multiple_of": BATCH}
    return TED(TEXTS, lengths=lengths, **settings | options)


def loader_of(ted):
    collate = ted.collate(padded)
    return DataLoader(ted.dataset, BATCH, sampler=ted.sampler, collate_fn=collate)


def train(ted, loader, *, stop=None, backward=torch.Tensor.backward):
    """Train to the end, or `stop` batches into epoch 2; give every batch's ids."""
    head = torch.tensor([[0.3, -0.2]], requires_grad=True)
    seen = {}
    for epoch in range(ted.epoch, EPOCHS):
        ted.set_epoch(epoch)
        for ids, texts in loader:
            z = texts.sum(1, keepdim=True) * head / 100
            losses = F.cross_entropy(z, ids % 2, reduction="none")
            backward(ted.loss(losses, mask=z, ids=ids))
            seen.setdefault(epoch, []).append(ids.tolist())
            if stop and (epoch, len(seen[epoch])) == (2, stop):
                return seen
    ted.finish()
    return seen


def longest(batches):
    return [max(LENGTHS[k] for k in ids) for ids in batches]


def padded_tokens(batches):
    return sum(len(b) * m for b, m in zip(batches, longest(batches), strict=True))


def check(seen, ted):
    """Hold a run's batches against the plan, and its tokens against the batches."""
    for batches in seen.values():
        ids = [k for batch in batches for k in batch]
        assert len(set(ids)) == len(ids)
        assert longest(batches)[0] == max(longest(batches))
        if len(ids) == N:  # a pruned epoch here has hardly a batch to a megabatch
            shuffled = np.random.default_rng(0).permuted([ids] * 20, axis=1)
            others = [np.split(row, range(BATCH, N, BATCH)) for row in shuffled]
            assert padded_tokens(batches) < min(map(padded_tokens, others))
    tokens = [sum(LENGTHS[k] for b in batches for k in b) for batches in seen.values()]
    assert ted.report().forwarded_tokens.tolist() == tokens
    assert ted.savings().tokens.full == EPOCHS * sum(LENGTHS)


def test_a_loop_of_ones_own_trains_on_batches_of_like_lengths():
    ted = session()
    seen = train(ted, loader_of(ted))
    assert all(sum(map(len, b)) < N for epoch, b in seen.items() if 0 < epoch < 4)
    check(seen, ted)


@pytest.mark.parametrize("stop", [1, 2])
def test_a_run_stopped_within_an_epoch_goes_on_in_the_same_batches(stop):
    whole, first, again = session(), session(), session()
    want = train(whole, loader_of(whole))
    head = train(first, loader_of(first), stop=stop)
    again.load_state_dict(first.state_dict())
    rest = train(again, loader_of(again))
    assert head[2] + rest.pop(2) == want[2]
    assert rest == {epoch: want[epoch] for epoch in rest}
    np.testing.assert_array_equal(again.pruner.scores, whole.pruner.scores)
    assert again.savings() == whole.savings()


def test_a_state_of_other_lengths_is_refused():
    saved = session().state_dict()
    with pytest.raises(CheckpointError, match="`lengths` must equal the saved one"):
        session([9, *LENGTHS[1:]]).load_state_dict(saved)


@given(size=st.integers(1, 5), seed=st.integers(0, 9))
def test_processes_visit_one_order_in_batches_of_like_lengths_together(size, seed):
    ranks = [
        session(num_replicas=size, rank=k, seed=seed, multiple_of=BATCH * size)
        for k in range(size)
    ]
    for ted in ranks:
        ted.set_epoch(0)
    shares = [list(ted.sampler) for ted in ranks]
    dealt = [k for together in zip(*shares, strict=True) for k in together]
    assert dealt[:N] == ranks[0].pruner.plan().order.tolist()
    step = BATCH * size
    lengths = [LENGTHS[k] for k in dealt[: N // step * step]]
    for start in range(0, len(lengths), step):
        part = lengths[start : start + step]
        assert part == sorted(part, reverse=True)


def test_lengths_that_differ_between_processes_are_refused(monkeypatch):
    asked = {}

    def gather(facts, *_, **__):
        asked.update(facts)
        raise EpochError

    monkeypatch.setattr("ted_torch.session.check_equal_across_ranks", gather)
    found = []
    for lengths in (LENGTHS, LENGTHS[::-1], None):
        with pytest.raises(EpochError):
            session(lengths).set_epoch(0)
        found.append(asked["lengths"])
    assert len(set(found)) == 3


def accelerated(accumulation):
    accelerator = Accelerator(cpu=True, gradient_accumulation_steps=accumulation)
    options = {"epochs": EPOCHS, "prune_ratio": 0.6, "batch_size": BATCH}
    ted = AcceleratedTED(accelerator, TEXTS, lengths=LENGTHS, **options)
    return ted, accelerator, accelerator.prepare(loader_of(ted))


@pytest.mark.parametrize("accumulation", [1, 2])
def test_accelerate_deals_out_batches_of_like_lengths(accumulation, tmp_path):
    ted, accelerator, loader = accelerated(accumulation)
    want = train(ted, loader, backward=accelerator.backward)
    check(want, ted)

    first, accelerator, loader = accelerated(accumulation)
    accelerator.register_for_checkpointing(first)
    train(first, loader, stop=2, backward=accelerator.backward)
    accelerator.save_state(tmp_path)
    again, accelerator, loader = accelerated(accumulation)
    accelerator.register_for_checkpointing(again)
    accelerator.load_state(tmp_path)
    rest = train(again, loader, backward=accelerator.backward)
    assert rest.pop(2) == want[2][2:]
    assert rest == {epoch: want[epoch] for epoch in rest}
    assert again.savings() == ted.savings()
