from __future__ import annotations

import numpy as np
import pytest
import torch
from accelerate import Accelerator
from lightning_runs import fit, make_ted
from ted_torch import TED
from ted_torch.integrations.accelerate import AcceleratedTED
from torch.nn import functional as F  # noqa: N812
from torch_runs import labelled

from ted_core import Constant

N = 20
DATA = labelled(N)
HALF = {"epochs": 1, "schedule": Constant(0.5, anneal=0)}


@pytest.fixture(scope="module")
def earlier():
    """Give a session after two epochs, each sample in both."""
    ted = TED(DATA, epochs=6, schedule=Constant(0.0))
    for epoch in range(2):
        ted.set_epoch(epoch)
        ids = torch.tensor(list(ted.sampler))
        x, y = DATA.tensors
        z = x[ids, :4].clone().requires_grad_()
        losses = F.cross_entropy(z, y[ids], reduction="none")
        ted.loss(losses, mask=z, ids=ids).backward()
    ted.close_epoch()
    return ted


SESSIONS = {
    "TED": lambda **options: TED(DATA, **options),
    "Accelerate": lambda **options: AcceleratedTED(
        Accelerator(cpu=True), DATA, batch_size=2, **options
    ),
}


@pytest.mark.parametrize("name", SESSIONS)
def test_every_session_opens_its_one_epoch_with_the_scores_of_a_file(
    name, earlier, tmp_path
):
    torch.save({"net": {}, "ted": earlier.state_dict()}, tmp_path / "earlier.pt")
    ted = SESSIONS[name](**HALF, initial_scores=tmp_path / "earlier.pt")
    highest = np.sort(np.argsort(earlier.pruner.scores)[N // 2 :])
    assert ted.pruner.plan().kept.tolist() == highest.tolist()


def test_lightning_fits_the_one_epoch_of_the_highest_scores(tmp_path):
    scores = np.random.default_rng(0).permutation(80)
    np.save(tmp_path / "scores.npy", scores)
    half, given = HALF["schedule"], tmp_path / "scores.npy"
    ted = make_ted(prune_ratio=None, schedule=half, initial_scores=given)
    net, ted, _ = fit(ted=ted, max_epochs=1)
    assert set(net.orders()[0]) == set(np.argsort(scores)[40:])
    assert ted.savings().ratio == 0.5
