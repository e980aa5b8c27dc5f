"""The exact types of the PyTorch adapter: read by the type checkers, never run."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, assert_type

import ted_torch
import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

import ted_core
from ted_core.reports import Preflight

if TYPE_CHECKING:
    from collections.abc import Iterator


def a_session_is_three_lines(data: Dataset[Tensor], z: Tensor, ids: Tensor) -> None:
    ted = ted_torch.TED(
        data,
        epochs=10,
        device="cpu",
        prune_ratio=0.5,
        strategy=ted_core.TopScore(),
        multiple_of=8,
        scale_loss=False,
        signal="loss",
        buffer="cpu",
        num_replicas=2,
        rank=1,
    )
    assert_type(ted, ted_torch.TED[Tensor])
    assert_type(ted.dataset, ted_torch.WithIds[Tensor])
    assert_type(ted.dataset[0], tuple[int, Tensor])
    assert_type(ted.sampler, ted_torch.TEDSampler)
    loader = DataLoader(ted.dataset, batch_size=8, sampler=ted.sampler)
    assert_type(loader, DataLoader[tuple[int, Tensor]])
    ted.set_epoch(0)
    assert_type(ted.epoch, int)
    assert_type(ted.mask(z, ids=ids), Tensor)
    assert_type(ted.loss(z, mask=z, ids=ids, weights=z), Tensor)
    assert_type(ted.total_steps(8, accumulation=2, drop_last=True), int)
    assert_type(ted.savings(), ted_core.Savings)
    assert_type(ted.report(), ted_core.Report)
    assert_type(ted.ranks, ted_torch.Ranks)
    assert_type(ted.mask([z, z], ids=ids), list[Tensor])
    pairs = [(ids, 0.3), (ids, 0.7)]
    assert_type(ted.loss(z, mask=[z, z], ids=pairs, valid=z > 0), Tensor)
    state = assert_type(ted.state_dict(), dict[str, Any])
    assert_type(ted.state_dict(every_process=True), dict[str, Any])
    ted.load_state_dict(state, allow=["epochs"])
    assert_type(ted.loss(z, ids=ids, logits=z, labels=ids, hidden=z), Tensor)
    ted.close_epoch()
    ted.finish()


def what_would_go_wrong_is_told_before_the_first_step(
    data: Dataset[Tensor], optimizer: torch.optim.Optimizer
) -> None:
    ted = ted_torch.TED(data, epochs=10, fingerprint="fold 3")
    loader = DataLoader(ted.dataset, batch_size=8, sampler=ted.sampler)
    found = assert_type(
        ted.check(loader, optimizer=optimizer, accumulation=2), Preflight
    )
    assert_type(found.problems, tuple[str, ...])
    assert_type(found.lines, tuple[str, ...])
    assert_type(str(found), str)
    ted.sampler.set_epoch(0)
    ted.dataset.set_epoch(0)
    assert_type(ted.dataset[[0, 1]], tuple[Tensor, Any])


def items_may_hold_their_ids(data: Dataset[dict[str, Tensor]]) -> None:
    ted = ted_torch.TED(data, epochs=10, ids="id")
    assert_type(ted.dataset.id_path, tuple[str | int, ...])
    ted_torch.WithIds(data, ids=2)
    ted_torch.WithIds(data, ids=(1, "id"))


def a_rank_may_own_its_part(part: Dataset[Tensor]) -> None:
    shard = ted_torch.find_shard(part)
    ted = ted_torch.TED(part, epochs=10, shard=shard)
    assert_type(ted.pruner.max_total_steps(8), int)
    assert_type(ted.pruner.plan().imbalance, float)
    assert_type(ted.pruner.plan().kept_by_rank, tuple[int, ...])


def the_parts_stand_alone(pruner: ted_core.Pruner, z: Tensor) -> None:
    ids: Iterator[int] = iter(ted_torch.TEDSampler(pruner))
    assert_type(next(ids), int)
    buffer = ted_torch.EpochBuffer(10)
    buffer.deliver(buffer.indices(z), weightless=z > 0)
    pruner.observe_sums(**buffer.read(0))
    ted_torch.record(z, buffer.indices(z), z, buffer)
    assert_type(ted_torch.tap(z, z), Tensor)
    shard = ted_torch.find_shard(pruner.plan().order, balance="per_rank", device="cpu")
    assert_type(shard, ted_core.Shard)
    ranks = ted_torch.Ranks(num_replicas=2, rank=1)
    assert_type(len(ted_torch.TEDSampler(pruner, ranks=ranks)), int)


def pad(items: list[Tensor]) -> Tensor:
    return torch.nn.utils.rnn.pad_sequence(items)


def a_collate_function_keeps_its_types() -> None:
    wrapped = ted_torch.CollateWithIds(pad)
    assert_type(wrapped, ted_torch.CollateWithIds[Tensor, Tensor])
    assert_type(wrapped([]), tuple[Tensor, Tensor])


def packed_rows_have_a_mask_and_a_loss_for_each_sample(z: Tensor, ids: Tensor) -> None:
    rows, delta = ted_torch.segment_mask(z, ids, 8)
    assert_type((rows, delta), tuple[Tensor, Tensor])
    assert_type(ted_torch.segment_losses(z, ids, 8, valid=z > 0), Tensor)
