"""The exact types of fastai's callback; read by the type checkers, never run."""

from __future__ import annotations

from pathlib import Path
from typing import Any, assert_type

import ted_torch
from ted_torch.integrations.fastai import SaveTEDCallback, TEDCallback

import ted_core


def a_callback_makes_a_session() -> None:
    ted = TEDCallback(epochs=5, prune_ratio=0.5, method="soft_margin", seed=3)
    TEDCallback(buffer="cpu", fingerprint="fold 3", allow=("epochs",))
    assert_type(ted.session, ted_torch.TED[Any])
    assert_type(ted.pruner, ted_core.Pruner)
    assert_type(ted.savings(), ted_core.Savings)
    assert_type(ted.report(), ted_core.Report)
    assert_type(ted.epoch, int)
    ted.load_state_dict(assert_type(ted.state_dict(), dict[str, Any]))
    assert_type(ted.save("model_3"), Path)
    ted.load(Path("model_3"))
    SaveTEDCallback(every_epoch=True, with_opt=True)
