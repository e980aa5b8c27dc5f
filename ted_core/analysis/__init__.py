"""The paper's quantities to look at after, not during, a run."""

from __future__ import annotations

from ted_core.analysis.generalization import (
    internal_generalization,
    internal_generalization_distance,
    leave_one_out_igd,
    retrained_igd,
)
from ted_core.analysis.influence import quadratic_igd
from ted_core.analysis.logistic import fit_logistic
from ted_core.analysis.softmax import (
    logistic_gradients,
    logistic_hessian,
    logistic_losses,
    logistic_objective,
)

__all__ = [
    "fit_logistic",
    "internal_generalization",
    "internal_generalization_distance",
    "leave_one_out_igd",
    "logistic_gradients",
    "logistic_hessian",
    "logistic_losses",
    "logistic_objective",
    "quadratic_igd",
    "retrained_igd",
]
