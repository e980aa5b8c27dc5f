"""Frameworks that deal out the batches take no shards."""

from __future__ import annotations

import pytest
import torch
from accelerate import Accelerator
from ted_torch.integrations.accelerate import AcceleratedTED
from ted_torch.integrations.lightning import TEDCallback
from ted_torch.integrations.transformers import TEDTrainer
from torch.utils.data import TensorDataset

from ted_core import Shard

DATA = TensorDataset(torch.zeros(8, 2))
SHARD = Shard((8, 8), rank=0, all_sum=lambda counts: counts)


@pytest.mark.parametrize(
    ("make", "framework"),
    [
        (
            lambda: AcceleratedTED(
                Accelerator(cpu=True), DATA, epochs=5, batch_size=2, shard=SHARD
            ),
            "Accelerate",
        ),
        (lambda: TEDCallback(DATA, shard=SHARD), "Lightning"),
        (lambda: TEDTrainer(train_dataset=DATA, ted={"shard": SHARD}), "a trainer"),
    ],
    ids=["accelerate", "lightning", "transformers"],
)
def test_a_shard_is_refused_with_the_remedy(make, framework):
    says = f"`shard` must not be given under {framework}, .*; give every .* whole data"
    with pytest.raises(ValueError, match=says):
        make()
