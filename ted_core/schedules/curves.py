"""The curves: frozen callables from progress t/T to the keep ratio r_t."""

from __future__ import annotations

import math
from dataclasses import KW_ONLY, dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from ted_core._validation import check_real
from ted_core.schedules.base import Horizon, check_schedule, trace

__all__ = ["Constant", "Cosine", "Linear", "RollerCoaster"]


@dataclass(frozen=True)
class RollerCoaster:
    r"""Fast-to-slow decline, r_t = exp((t/T)^beta log(1 - s)) (Eq. 21).

    Parameters
    ----------
    prune_ratio : float, default 0.7
        s, in [0, 1): the share pruned at progress 1.
    beta : float, default 0.25
        Shape, above 0; smaller declines faster. The paper uses 0.2 to 0.3.
    anneal : float, default 0.125
        gamma, in [0, 1): share of full-data epochs at the end (0.125 for
        images and 0 for text in the paper).
    horizon : {"all", "pruning"}, default "all"
        T: all epochs, or those before the annealing tail.
    warmup : int, default 0
        Full-data epochs at the start; the first cut comes after them.

    Raises
    ------
    ValueError, TypeError
        An argument is out of its range or of a wrong type.

    Notes
    -----
    Cost: O(size of `progress`).

    References
    ----------
    J. Xiao, P. Li, J. Nie, TED: Accelerate Model Training by Internal
    Generalization, ECAI 2024, Eq. 21 and Appendix A.

    Examples
    --------
    >>> from ted_core import RollerCoaster
    >>> RollerCoaster(0.7, beta=0.25)([0.0, 0.5, 1.0]).round(3).tolist()
    [1.0, 0.363, 0.3]
    """

    prune_ratio: float = 0.7
    _: KW_ONLY
    beta: float = 0.25
    anneal: float = 0.125
    horizon: Horizon = "all"
    warmup: int = 0

    def __post_init__(self) -> None:
        """Refuse arguments that make no schedule."""
        check_schedule(self)
        beta = check_real("beta", self.beta, low=0, high=math.inf, closed="neither")
        object.__setattr__(self, "beta", beta)

    def __call__(self, progress: ArrayLike) -> NDArray[np.float64]:
        """Keep ratio r_t at `progress` t/T in [0, 1], of the same shape."""
        return trace(
            lambda p: np.exp(p**self.beta * math.log1p(-self.prune_ratio)), progress
        )


@dataclass(frozen=True)
class Linear:
    r"""Straight decline, r_t = 1 - s t/T.

    Parameters
    ----------
    prune_ratio : float, default 0.7
        s, in [0, 1): the share pruned at progress 1.
    anneal : float, default 0.125
        gamma, in [0, 1): share of full-data epochs at the end.
    horizon : {"all", "pruning"}, default "all"
        T: all epochs, or those before the annealing tail.
    warmup : int, default 0
        Full-data epochs at the start; the first cut comes after them.

    Raises
    ------
    ValueError, TypeError
        An argument is out of its range or of a wrong type.

    Notes
    -----
    Cost: O(size of `progress`).

    References
    ----------
    J. Xiao, P. Li, J. Nie, TED: Accelerate Model Training by Internal
    Generalization, ECAI 2024, Fig. 7 (Linear).

    Examples
    --------
    >>> from ted_core import Linear
    >>> Linear(0.7)([0.0, 0.5, 1.0]).round(3).tolist()
    [1.0, 0.65, 0.3]
    """

    prune_ratio: float = 0.7
    _: KW_ONLY
    anneal: float = 0.125
    horizon: Horizon = "all"
    warmup: int = 0

    def __post_init__(self) -> None:
        """Refuse arguments that make no schedule."""
        check_schedule(self)

    def __call__(self, progress: ArrayLike) -> NDArray[np.float64]:
        """Keep ratio r_t at `progress` t/T in [0, 1], of the same shape."""
        return trace(lambda p: 1 - self.prune_ratio * p, progress)


@dataclass(frozen=True)
class Cosine:
    r"""Half a cosine, r_t = 1 - s (1 - cos(pi t/T)) / 2.

    Parameters
    ----------
    prune_ratio : float, default 0.7
        s, in [0, 1): the share pruned at progress 1.
    anneal : float, default 0.125
        gamma, in [0, 1): share of full-data epochs at the end.
    horizon : {"all", "pruning"}, default "all"
        T: all epochs, or those before the annealing tail.
    warmup : int, default 0
        Full-data epochs at the start; the first cut comes after them.

    Raises
    ------
    ValueError, TypeError
        An argument is out of its range or of a wrong type.

    Notes
    -----
    Cost: O(size of `progress`).

    References
    ----------
    J. Xiao, P. Li, J. Nie, TED: Accelerate Model Training by Internal
    Generalization, ECAI 2024, Fig. 7 (Cos).

    Examples
    --------
    >>> from ted_core import Cosine
    >>> Cosine(0.7)([0.0, 0.5, 1.0]).round(3).tolist()
    [1.0, 0.65, 0.3]
    """

    prune_ratio: float = 0.7
    _: KW_ONLY
    anneal: float = 0.125
    horizon: Horizon = "all"
    warmup: int = 0

    def __post_init__(self) -> None:
        """Refuse arguments that make no schedule."""
        check_schedule(self)

    def __call__(self, progress: ArrayLike) -> NDArray[np.float64]:
        """Keep ratio r_t at `progress` t/T in [0, 1], of the same shape."""
        return trace(
            lambda p: 1 - self.prune_ratio * (1 - np.cos(np.pi * p)) / 2, progress
        )


@dataclass(frozen=True)
class Constant:
    r"""Fixed share from the first epoch on, r_t = 1 - s.

    Parameters
    ----------
    prune_ratio : float, default 0.7
        s, in [0, 1): the share pruned in every epoch of the curve.
    anneal : float, default 0.125
        gamma, in [0, 1): share of full-data epochs at the end.
    horizon : {"all", "pruning"}, default "all"
        T: all epochs, or those before the annealing tail.
    warmup : int, default 0
        Full-data epochs at the start; the first cut comes after them.

    Raises
    ------
    ValueError, TypeError
        An argument is out of its range or of a wrong type.

    Notes
    -----
    Cost: O(size of `progress`).

    References
    ----------
    J. Xiao, P. Li, J. Nie, TED: Accelerate Model Training by Internal
    Generalization, ECAI 2024, Fig. 7 (Fix).

    Examples
    --------
    >>> from ted_core import Constant
    >>> Constant(0.7)([0.0, 0.5, 1.0]).round(3).tolist()
    [0.3, 0.3, 0.3]
    """

    prune_ratio: float = 0.7
    _: KW_ONLY
    anneal: float = 0.125
    horizon: Horizon = "all"
    warmup: int = 0

    def __post_init__(self) -> None:
        """Refuse arguments that make no schedule."""
        check_schedule(self)

    def __call__(self, progress: ArrayLike) -> NDArray[np.float64]:
        """Keep ratio r_t at `progress` t/T in [0, 1], of the same shape."""
        return trace(lambda p: np.full_like(p, 1 - self.prune_ratio), progress)
