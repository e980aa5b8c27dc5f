"""The signals by name, and which reductions and strategies they go with."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Any

from ted_core.reductions import Count, Mean, Polyak, Reduction
from ted_core.strategies import Strategy

__all__ = ["SIGNALS", "check_pairs", "check_signal", "default_reduction"]

SIGNALS: Mapping[str, type[Any]] = MappingProxyType(
    {
        "mask_gradient": Polyak,
        "loss": Polyak,
        "el2n": Mean,
        "grand": Mean,
        "margin": Polyak,
        "least_confidence": Polyak,
        "forgetting": Count,
    }
)
"""Names of the signals a run may observe, with the kind of their own reduction."""


def default_reduction(signal: object) -> Reduction:
    """Return a signal's own reduction over time.

    Parameters
    ----------
    signal : str
        Its name; that of no signal gets the default of all, and is refused later.

    Returns
    -------
    Reduction
        ``Polyak(0.9)``; ``Mean()`` for `el2n` and `grand`, whose papers average;
        ``Count()`` for `forgetting`.

    Examples
    --------
    >>> from ted_core.signals import default_reduction
    >>> default_reduction("grand")
    Mean()
    """
    kind = SIGNALS.get(signal, Polyak) if isinstance(signal, str) else Polyak
    made: Reduction = kind()
    return made


def check_signal(signal: object) -> None:
    """Refuse what is no name of a signal.

    Parameters
    ----------
    signal : str
        Name of what is observed.

    Raises
    ------
    ValueError
        There is no such signal.

    Examples
    --------
    >>> from ted_core.signals import check_signal
    >>> check_signal("el2n")
    """
    if not isinstance(signal, str) or signal not in SIGNALS:
        msg = f"`signal` must be one of {', '.join(SIGNALS)}, got {signal!r}"
        raise ValueError(msg)


def check_pairs(signal: object, strategy: Strategy, reduction: Reduction) -> None:
    """Refuse a signal, a strategy and a reduction that mean nothing together.

    Parameters
    ----------
    signal : str
        Name of what is observed.
    strategy : Strategy
        Which samples are kept.
    reduction : Reduction
        How the values become a score.

    Raises
    ------
    ValueError
        There is no such signal; the strategy needs another reduction; or `forgetting`,
        whose values say correct or wrong, meets a reduction that does not count them,
        or counting meets another signal.

    Examples
    --------
    >>> from ted_core import Count, TopScore
    >>> from ted_core.signals import check_pairs
    >>> check_pairs("forgetting", TopScore(), Count())
    """
    check_signal(signal)
    counts = isinstance(reduction, Count)
    needed = strategy.reduction
    if signal == "forgetting" and needed is not None and not isinstance(needed, Count):
        msg = (
            f"`signal` must not be 'forgetting' for {strategy!r}, which needs "
            f"{needed!r}: its values say correct or wrong and only Count() ranks them"
        )
        raise ValueError(msg)
    if needed is not None and needed != reduction:
        msg = f"`reduction` must be {needed!r} for {strategy!r}, got {reduction!r}"
        raise ValueError(msg)
    if signal == "forgetting" and not counts:
        msg = (
            "`reduction` must be Count() for the signal 'forgetting', whose values say "
            f"correct or wrong, got {reduction!r}"
        )
        raise ValueError(msg)
    if counts and signal != "forgetting":
        msg = (
            "`reduction` must not be Count(), which counts the values of 'forgetting', "
            f"for the signal {signal!r}, got {reduction!r}"
        )
        raise ValueError(msg)
