"""Pairs of a signal and a strategy that have a name."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

from ted_core.strategies import Random, SoftTop, Strategy, TopScore

__all__ = ["METHODS", "find_method"]

METHODS: Mapping[str, tuple[str, Strategy]] = MappingProxyType(
    {
        "ted": ("mask_gradient", TopScore()),
        "ted_loss": ("loss", TopScore()),
        "soft_margin": ("margin", SoftTop()),
        "random": ("mask_gradient", Random()),
    }
)
"""The signal and the strategy of each ``method=``."""


def find_method(method: object) -> tuple[str, Strategy]:
    """Return the signal and the strategy of a method.

    Parameters
    ----------
    method : {"ted", "ted_loss", "soft_margin", "random"}
        The paper's; the paper's on the loss; a draw by rank (:class:`SoftTop`) of the
        samples whose two best classes are close; and a new uniform draw each epoch.

    Returns
    -------
    signal : str
        What is observed of a sample.
    strategy : Strategy
        Which samples are kept.

    Raises
    ------
    ValueError
        There is no such method.

    References
    ----------
    J. Xiao, P. Li, J. Nie, TED: Accelerate Model Training by Internal
    Generalization, ECAI 2024, Algorithm 1 and Table 6, for the first two.

    Examples
    --------
    >>> from ted_core.methods import find_method
    >>> find_method("soft_margin")
    ('margin', SoftTop(sharpness=1.0, class_floor=0.0))
    """
    if not isinstance(method, str) or method not in METHODS:
        msg = f"`method` must be one of {', '.join(METHODS)}, got {method!r}"
        raise ValueError(msg)
    return METHODS[method]
