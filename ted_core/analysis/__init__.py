"""The paper's quantities to look at after, not during, a run."""

from ted_core.analysis.generalization import (
    fit_logistic,
    internal_generalization,
    internal_generalization_distance,
    leave_one_out_igd,
    logistic_objective,
    quadratic_igd,
    retrained_igd,
)
from ted_core.analysis.landscape import gradient_correlation, interpolate, loss_along
from ted_core.analysis.loss_split import LossSummary, SplitLosses, split_losses
from ted_core.analysis.timing import forwarded_samples, prune_from

__all__ = [
    "LossSummary",
    "SplitLosses",
    "fit_logistic",
    "forwarded_samples",
    "gradient_correlation",
    "internal_generalization",
    "internal_generalization_distance",
    "interpolate",
    "leave_one_out_igd",
    "logistic_objective",
    "loss_along",
    "prune_from",
    "quadratic_igd",
    "retrained_igd",
    "split_losses",
]
