"""The runs whose saved states are kept as fixtures: what each one is made with.

A run stops, its state is kept, and what it does afterwards is written beside it.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np
from saved_runs import EPOCHS, N, values

import ted_core as ted
from ted_core.reductions import MeanAndVariance

__all__ = ["CORE", "HOSTS", "KERAS", "RANKS", "SHARDS", "TORCH", "Kind"]

LABELS = np.arange(N) % 3


@dataclass(frozen=True)
class Kind:
    """A kind of session, and where its run stops.

    Parameters
    ----------
    options : dict
        Of the session, beside its data and the number of epochs.
    epoch : int
        Epoch in which the run stops; after the last one it is finished.
    seen : int
        Samples of that epoch seen before it stops; for hosts with batches, batches.
    early : bool
        Whether the run is finished there, before its last epoch.
    longer : int
        Epochs by which the run is extended when its state is loaded.
    drawn : bool
        Whether a later version may draw other samples from the same state.
    mixed : bool
        Whether the batches of the epoch in which it stops are mixed.
    recorded : str
        State whose scores the run ranks by, from first to last.
    more : dict
        Of the shard, if there is one.
    """

    options: dict[str, Any]
    epoch: int = 3
    seen: int = 0
    early: bool = False
    longer: int = 0
    drawn: bool = False
    mixed: bool = False
    recorded: str = ""
    more: dict[str, Any] = field(default_factory=dict)


HALF = ted.Constant(0.5)
FLOOR = {"labels": LABELS}
FORGETTING = {"signal": "forgetting", "reduction": ted.Count()}
DEEP = ted.RollerCoaster(0.6, beta=0.3, anneal=0.25, horizon="pruning", warmup=1)
SCORES = values(range(N), 99)


def _both(name, options, seen=9, **more):
    return {
        f"{name}_between": Kind(options, **more),
        f"{name}_within": Kind(options, seen=seen, **more),
    }


CORE = {
    **_both("defaults", {}),
    **_both("top", {"schedule": DEEP, "seed": 2**64 - 1, "multiple_of": 4}),
    **_both(
        "top_floor",
        {"strategy": ted.TopScore(class_floor=0.3), "prune_ratio": 0.6, **FLOOR},
    ),
    "soft_between": Kind({"method": "soft_margin", "schedule": HALF}, drawn=True),
    "soft_floor_between": Kind(
        {
            "strategy": ted.SoftTop(sharpness=2.5, class_floor=0.25),
            "schedule": ted.Linear(0.6, anneal=0.25, horizon="pruning", warmup=2),
            "signal": "margin",
            **FLOOR,
        },
        epoch=4,
        drawn=True,
    ),
    **_both("random", {"method": "random", "schedule": ted.Linear(0.6), "seed": 5}),
    **_both(
        "greedy",
        {
            "strategy": ted.EpsilonGreedy(epsilon=0.3),
            "schedule": ted.Cosine(0.6, anneal=0.25, horizon="pruning", warmup=1),
            "signal": "el2n",
            "scale_loss": False,
        },
    ),
    **_both("ucb", {"strategy": ted.UCB(), "schedule": ted.Cosine(0.6)}),
    **_both(
        "ucb_floor",
        {
            "strategy": ted.UCB(
                confidence=2, alpha=0.7, bonus="deviation", class_floor=0.2
            ),
            "schedule": HALF,
            **FLOOR,
        },
    ),
    **_both(
        "infobatch",
        {"strategy": ted.InfoBatch(), "schedule": HALF, "signal": "loss"},
    ),
    **_both(
        "infobatch_even",
        {
            "strategy": ted.InfoBatch(),
            "schedule": ted.Constant(0.4, anneal=0.25, warmup=2),
            "multiple_of": 8,
        },
    ),
    **_both(
        "static",
        {"strategy": ted.Static(SCORES), "schedule": ted.Constant(0.5, anneal=0)},
    ),
    **_both(
        "static_floor",
        {"strategy": ted.Static(SCORES, class_floor=0.3), "schedule": HALF, **FLOOR},
    ),
    **_both("static_recorded", {"schedule": HALF}, recorded="core/finished.npz"),
    **_both("zero", {"reduction": ted.Polyak(0.5, start="zero"), "schedule": HALF}),
    **_both(
        "debiased",
        {"reduction": ted.Polyak(0.8, start="debiased"), "method": "ted_loss"},
    ),
    **_both("last", {"reduction": ted.Last(), "signal": "grand", "schedule": HALF}),
    **_both(
        "mean",
        {"reduction": ted.Mean(), "signal": "least_confidence", "schedule": HALF},
    ),
    **_both("count", {**FORGETTING, "schedule": HALF}),
    **_both("started", {"initial_scores": SCORES, "schedule": HALF}),
    "ucb_mean": Kind({"reduction": MeanAndVariance(0.6), "schedule": HALF}, epoch=5),
    "fresh": Kind({}, epoch=0),
    "first_epoch": Kind({}, epoch=0, seen=9),
    "finished": Kind({"prune_ratio": 0.6}, epoch=EPOCHS),
    "stopped": Kind({"prune_ratio": 0.6}, epoch=3, seen=9, early=True),
    "extended": Kind({"prune_ratio": 0.6}, longer=4),
}
"""Runs of the core's pruner."""

SHARDS = {
    f"{name}_{balance}": Kind(
        {"schedule": HALF, **kind.options},
        seen=kind.seen,
        drawn=kind.drawn,
        more={"balance": balance},
    )
    for balance in ("exact", "per_rank")
    for name, kind in {
        "top_between": Kind({}),
        "top": Kind({}, seen=5),
        "greedy": Kind({"strategy": ted.EpsilonGreedy(epsilon=0.3)}, seen=5),
        "infobatch": Kind({"strategy": ted.InfoBatch(), "signal": "loss"}, seen=5),
        "ucb": Kind({"strategy": ted.UCB(confidence=2)}, seen=5),
        "random": Kind({"strategy": ted.Random()}, seen=5),
        "soft_between": Kind({"strategy": ted.SoftTop(sharpness=2)}, drawn=True),
    }.items()
}
"""Runs of the core's pruner on two ranks, each with data of its own."""

LOSS = {"method": "ted_loss", "prune_ratio": 0.6, "seed": 9}
WEIGHED = {"strategy": ted.InfoBatch(), "signal": "loss", "schedule": HALF}
SOFT = {"method": "soft_margin", "schedule": HALF}
END = 10
"""As many batches as an epoch has at the most: the run stops when it has ended."""

TORCH = {
    "between": Kind(LOSS),
    "at_an_end": Kind(LOSS, seen=END),
    "within": Kind(LOSS, seen=2),
    "mask_within": Kind({"prune_ratio": 0.6, "multiple_of": 4}, seen=2),
    "mixed_within": Kind(LOSS, seen=2, mixed=True),
    "infobatch_between": Kind(WEIGHED),
    "infobatch_within": Kind(WEIGHED, seen=2),
    "soft_between": Kind(SOFT, drawn=True),
    "finished": Kind(LOSS, epoch=EPOCHS),
    "extended": Kind(LOSS, longer=4),
}
"""Runs of `ted_torch.TED` in one process; batches of 4."""

KERAS = {
    "between": Kind(LOSS),
    "within": Kind(LOSS, seen=2),
    "at_an_end": Kind(LOSS, seen=END),
    "infobatch_within": Kind(WEIGHED, seen=2),
    "soft_between": Kind(
        {"strategy": ted.SoftTop(), "signal": "loss", "schedule": HALF}, drawn=True
    ),
    "finished": Kind(LOSS, epoch=EPOCHS),
    "backup": Kind(LOSS),
    "backup_before": Kind(LOSS, epoch=2),
}
"""Runs of `ted_keras.TED`; batches of 4."""

HOSTS = {
    "trainer_at_an_end": Kind(LOSS, epoch=2, seen=END),
    "trainer_within": Kind(LOSS, seen=2),
    "trainer_infobatch_within": Kind(WEIGHED, seen=2),
    "lightning_between": Kind(LOSS),
    "lightning_within": Kind(LOSS, seen=2),
    "accelerate_between": Kind(LOSS),
    "accelerate_within": Kind(LOSS, seen=2),
}
"""Runs in loops of others, named by the host; batches of 4."""

RANKS = {
    "between": Kind(LOSS),
    "within": Kind(LOSS, seen=1),
    "infobatch_within": Kind(WEIGHED, seen=1),
    "shard_exact_between": Kind(LOSS, more={"balance": "exact"}),
    "shard_exact_within": Kind(LOSS, seen=1, more={"balance": "exact"}),
    "shard_exact_weighed": Kind(WEIGHED, seen=1, more={"balance": "exact"}),
    "shard_per_rank_within": Kind(LOSS, seen=1, more={"balance": "per_rank"}),
    "lightning_within": Kind(LOSS, seen=1),
    "accelerate_within": Kind(LOSS, seen=1),
}
"""Runs on two processes; one file a process, but for those of the two hosts."""
