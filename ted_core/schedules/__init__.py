"""Keep ratios: how much of the data an epoch visits.

A schedule is a frozen callable from progress t/T in [0, 1] to the keep ratio r_t,
with the epochs around the curve: `warmup` full epochs at the start and the annealing
share `anneal` (gamma) of full epochs at the end.
"""

from __future__ import annotations

from ted_core.schedules.curves import (
    Constant,
    Cosine,
    Horizon,
    Linear,
    RollerCoaster,
    Schedule,
    anneal_epochs,
    keep_ratios,
)

__all__ = [
    "Constant",
    "Cosine",
    "Horizon",
    "Linear",
    "RollerCoaster",
    "Schedule",
    "anneal_epochs",
    "keep_ratios",
]
