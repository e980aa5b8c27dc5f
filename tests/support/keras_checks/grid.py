"""Every strategy with every schedule, and with the loss, in Keras' own steps."""

from __future__ import annotations

from keras_checks.adapter import KerasAdapter, RankedByLoss

from ted_core.testing import PAIRS, SIGNAL_PAIRS, trains_or_refuses

REFUSED = {"UCB x forgetting", "InfoBatch x forgetting"}
LOSS_PAIRS = {name for name in SIGNAL_PAIRS if name.endswith(" x loss")}


def _pair(name, options):
    adapter = RankedByLoss if name in LOSS_PAIRS else KerasAdapter

    def check():
        assert trains_or_refuses(adapter, options) == (name not in REFUSED)

    check.__name__ = name.replace(" x ", "_with_")
    return check


CHECKS = tuple(
    _pair(name, options)
    for name, options in {**PAIRS, **SIGNAL_PAIRS}.items()
    if name in PAIRS or name in LOSS_PAIRS | REFUSED
)
