"""Train on the samples that still matter: TED's core, which knows no framework.

The method is that of J. Xiao, P. Li, J. Nie, *TED: Accelerate Model Training by
Internal Generalization*, ECAI 2024.
"""

from __future__ import annotations

from ted_core import signals
from ted_core._version import __version__
from ted_core.atomic import atomic_write
from ted_core.checkpoint import load_state, save_state
from ted_core.counts import keep_count, steps_for
from ted_core.cross_entropy import cross_entropy_mask_gradient
from ted_core.early_warning import early_warning
from ted_core.errors import CheckpointError, EpochError, TedWarning
from ted_core.importance import mask_gradient, segment_mask_gradient
from ted_core.metrics import run_metrics
from ted_core.plan import EpochPlan
from ted_core.pruner import Pruner
from ted_core.reductions import Count, Last, Mean, Polyak, polyak_update
from ted_core.report import Report
from ted_core.sample_table import SampleTable, sample_table
from ted_core.savings import Savings, planned_save_ratio, save_ratio
from ted_core.scaling import loss_scale
from ted_core.schedules import (
    Constant,
    Cosine,
    Linear,
    RollerCoaster,
    anneal_epochs,
    keep_ratios,
)
from ted_core.scores import ScoreBook
from ted_core.selection import redundant_subset, top_ids
from ted_core.shards import Shard
from ted_core.strategies import (
    UCB,
    EpsilonGreedy,
    InfoBatch,
    MeanAndVariance,
    Random,
    Request,
    Selection,
    SoftTop,
    Static,
    TopScore,
)
from ted_core.ties import highest_hashes, tie_hash

__all__ = [
    "UCB",
    "CheckpointError",
    "Constant",
    "Cosine",
    "Count",
    "EpochError",
    "EpochPlan",
    "EpsilonGreedy",
    "InfoBatch",
    "Last",
    "Linear",
    "Mean",
    "MeanAndVariance",
    "Polyak",
    "Pruner",
    "Random",
    "Report",
    "Request",
    "RollerCoaster",
    "SampleTable",
    "Savings",
    "ScoreBook",
    "Selection",
    "Shard",
    "SoftTop",
    "Static",
    "TedWarning",
    "TopScore",
    "__version__",
    "anneal_epochs",
    "atomic_write",
    "cross_entropy_mask_gradient",
    "early_warning",
    "highest_hashes",
    "keep_count",
    "keep_ratios",
    "load_state",
    "loss_scale",
    "mask_gradient",
    "planned_save_ratio",
    "polyak_update",
    "redundant_subset",
    "run_metrics",
    "sample_table",
    "save_ratio",
    "save_state",
    "segment_mask_gradient",
    "signals",
    "steps_for",
    "tie_hash",
    "top_ids",
]
