"""What may be observed of a sample in a step, on arrays of any library.

High means keep. Beside these stands the mask gradient, TED's own signal, in
:func:`ted_core.mask_gradient`.
"""

from __future__ import annotations

from ted_core.signals.classification import (
    el2n,
    forgetting,
    grand,
    least_confidence,
    loss,
    margin,
    normalize,
)
from ted_core.signals.registry import INPUTS, SIGNALS, compute

__all__ = [
    "INPUTS",
    "SIGNALS",
    "compute",
    "el2n",
    "forgetting",
    "grand",
    "least_confidence",
    "loss",
    "margin",
    "normalize",
]
