"""What may be observed of a sample in a step, on arrays of any library.

High means keep. Beside these stands the mask gradient, TED's own signal, in
:func:`ted_core.mask_gradient`.
"""

from __future__ import annotations

from ted_core.signals.by_name import INPUTS, compute
from ted_core.signals.confidence import least_confidence, margin
from ted_core.signals.learning import forgetting, loss
from ted_core.signals.names import (
    SIGNALS,
    check_pairs,
    check_signal,
    default_reduction,
)
from ted_core.signals.residuals import el2n, grand
from ted_core.signals.scale import normalize

__all__ = [
    "INPUTS",
    "SIGNALS",
    "check_pairs",
    "check_signal",
    "compute",
    "default_reduction",
    "el2n",
    "forgetting",
    "grand",
    "least_confidence",
    "loss",
    "margin",
    "normalize",
]
