from __future__ import annotations

import dataclasses

import numpy as np
import torch
from ted_torch import TED
from torch.nn import functional as F  # noqa: N812

import ted_core


@dataclasses.dataclass(frozen=True)
class Weighted(ted_core.Random):
    """Weighs each kept sample by its id."""

    def select(self, request):
        kept = super().select(request).kept
        return dataclasses.replace(
            super().select(request), weights=kept.astype(np.float32)
        )


def test_the_weights_of_a_strategy_multiply_the_losses_and_cancel_in_the_scores(data):
    plain = TED(data, epochs=5, prune_ratio=0.5)
    ted = TED(data, epochs=5, prune_ratio=0.5, strategy=Weighted())
    x, y = data.tensors
    ids = torch.arange(40)
    torch.manual_seed(0)
    net = torch.nn.Linear(6, 4)
    for session in (plain, ted):
        session.set_epoch(0)
        z = net(x)
        losses = F.cross_entropy(z, y, reduction="none")
        total = session.loss(losses, mask=z, ids=ids, weights=torch.full((40,), 0.5))
        total.backward()
        factor = ids if session is ted else 1
        torch.testing.assert_close(total, (losses * 0.5 * factor).mean())
        session.set_epoch(1)
    np.testing.assert_allclose(
        ted.pruner.scores[1:], plain.pruner.scores[1:], rtol=1e-5
    )
    assert np.isnan(ted.pruner.scores[0])
