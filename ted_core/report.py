"""What happened in the closed epochs, counted."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

__all__ = ["HISTORY", "Report"]

HISTORY = ("planned", "observed", "distinct", "nonfinite", "missing")
"""Names of the counts of each closed epoch."""


@dataclass(frozen=True, eq=False)
class Report:
    """Counts of the closed epochs, one entry each, and the samples to look at.

    Parameters
    ----------
    planned : ndarray of int64, shape (e,)
        Samples the plan kept.
    observed : ndarray of int64, shape (e,)
        Observations, repeats included: the samples forwarded.
    distinct : ndarray of int64, shape (e,)
        Samples observed at least once.
    nonfinite : ndarray of int64, shape (e,)
        Samples whose value was not finite and was dropped.
    missing : ndarray of int64, shape (e,)
        Kept samples that were never observed.
    nonfinite_ids : ndarray of int64
        Ids not finite in two epochs or more, ascending.

    Examples
    --------
    >>> import ted_core as ted
    >>> pruner = ted.Pruner(4, epochs=5, prune_ratio=0.5)
    >>> pruner.observe([0, 1, 2], [1.0, 2.0, 3.0])
    >>> pruner.advance()
    >>> pruner.report().missing.tolist()
    [1]
    """

    planned: NDArray[np.int64]
    observed: NDArray[np.int64]
    distinct: NDArray[np.int64]
    nonfinite: NDArray[np.int64]
    missing: NDArray[np.int64]
    nonfinite_ids: NDArray[np.int64]

    @property
    def repeated(self) -> NDArray[np.int64]:
        """Observations beyond the first of a sample, shape (e,)."""
        return self.observed - self.distinct
