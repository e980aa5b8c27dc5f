"""Read by the type checkers, never run."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

import ted_core as ted

pruner: ted.Pruner = ted.Pruner(
    100,
    epochs=10,
    schedule=ted.RollerCoaster(0.7, beta=0.2, anneal=0.125, horizon="pruning"),
    strategy=ted.TopScore(class_floor=0.1),
    reduction=ted.Polyak(0.9, start="debiased"),
    labels=np.zeros(100, np.int64),
)
plan: ted.EpochPlan = pruner.plan()
steps: int = plan.steps(32, accumulation=2, world_size=4, drop_last=True)
total: int = pruner.total_steps(32)
bound: int = pruner.max_total_steps(32, world_size=2)
scale: float = plan.loss_scale
weights: NDArray[np.float32] | None = plan.weights
pruner.observe([1, 2], [0.5, 1.0])
pruner.advance()
ratio: float = pruner.savings().ratio
missing: NDArray[np.int64] = pruner.report().missing
ted.save_state("state.npz", pruner.state_dict())
pruner.load_state_dict(ted.load_state("state.npz"), allow=("epochs",))
kept: int = ted.keep_count(100, 0.3, multiple_of=32)
ids = ted.top_ids(np.zeros(3, np.float32), 2, seed=1, epoch=2)
