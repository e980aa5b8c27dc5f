"""The exact types of Lightning's callback and torchdata's loader; never run."""

from __future__ import annotations

from typing import Any, assert_type

import ted_torch
from ted_torch.integrations.lightning import TEDCallback
from ted_torch.integrations.torchdata import stateful_loader
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

import ted_core


def a_callback_is_a_session(data: Dataset[Tensor], z: Tensor, ids: Tensor) -> None:
    ted = TEDCallback(data, prune_ratio=0.5, signal="loss", seed=3, buffer="cpu")
    assert_type(ted, TEDCallback[Tensor])
    assert_type(ted.session, ted_torch.TED[Tensor])
    assert_type(ted.dataset, ted_torch.WithIds[Tensor])
    assert_type(ted.pruner, ted_core.Pruner)
    assert_type(ted.loader(batch_size=8), DataLoader[tuple[int, Tensor]])
    assert_type(ted.loss(z, mask=z, ids=ids, weights=z), Tensor)
    assert_type(ted.total_steps(8, drop_last=True), int)
    assert_type(ted.savings(), ted_core.Savings)
    assert_type(ted.report(), ted_core.Report)
    state = assert_type(ted.state_dict(), dict[str, Any])
    ted.load_state_dict(state)
    TEDCallback(data, ids=("target", "id"))
    assert_type(TEDCallback(lambda: data), TEDCallback[Tensor])


def a_stateful_loader_takes_a_session_or_a_callback(
    ted: ted_torch.TED[Tensor], callback: TEDCallback[Tensor]
) -> None:
    loader = stateful_loader(ted, batch_size=8, num_workers=2)
    loader.load_state_dict(loader.state_dict())
    stateful_loader(callback, batch_size=8)
