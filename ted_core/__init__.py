"""Train on the samples that still matter: TED's core, which knows no framework.

The method is that of J. Xiao, P. Li, J. Nie, *TED: Accelerate Model Training by
Internal Generalization*, ECAI 2024.
"""

from ted_core import signals
from ted_core.checkpoint import atomic_write, load_state, register_kind, save_state
from ted_core.comparison import compare
from ted_core.errors import CheckpointError, ComparisonError, EpochError, TedWarning
from ted_core.history import Report
from ted_core.plan import EpochPlan, loss_scale
from ted_core.pruner import Pruner
from ted_core.reductions import Count, Last, Mean, Polyak, polyak_update
from ted_core.reports.early_warning import early_warning
from ted_core.reports.metrics import run_metrics
from ted_core.reports.sample_table import SampleTable, sample_table
from ted_core.schedules import (
    Constant,
    Cosine,
    Linear,
    RollerCoaster,
    Savings,
    keep_count,
    keep_ratios,
    planned_save_ratio,
    save_ratio,
    steps_for,
)
from ted_core.selection.sharded import Shard
from ted_core.selection.top_k import redundant_subset, top_ids
from ted_core.signals.mask_gradient import (
    cross_entropy_mask_gradient,
    mask_gradient,
    segment_mask_gradient,
)
from ted_core.strategies import (
    UCB,
    EpsilonGreedy,
    Importance,
    InfoBatch,
    Random,
    Request,
    Selection,
    SoftTop,
    Static,
    TopScore,
    rankings,
)

__version__ = "0.1.0"

__all__ = [
    "UCB",
    "CheckpointError",
    "ComparisonError",
    "Constant",
    "Cosine",
    "Count",
    "EpochError",
    "EpochPlan",
    "EpsilonGreedy",
    "Importance",
    "InfoBatch",
    "Last",
    "Linear",
    "Mean",
    "Polyak",
    "Pruner",
    "Random",
    "Report",
    "Request",
    "RollerCoaster",
    "SampleTable",
    "Savings",
    "Selection",
    "Shard",
    "SoftTop",
    "Static",
    "TedWarning",
    "TopScore",
    "__version__",
    "atomic_write",
    "compare",
    "cross_entropy_mask_gradient",
    "early_warning",
    "keep_count",
    "keep_ratios",
    "load_state",
    "loss_scale",
    "mask_gradient",
    "planned_save_ratio",
    "polyak_update",
    "rankings",
    "redundant_subset",
    "register_kind",
    "run_metrics",
    "sample_table",
    "save_ratio",
    "save_state",
    "segment_mask_gradient",
    "signals",
    "steps_for",
    "top_ids",
]
