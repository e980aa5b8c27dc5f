"""What every session tells of its run, whatever the framework."""

from __future__ import annotations

from ted_core.pruner import Pruner
from ted_core.report import Report
from ted_core.savings import Savings

__all__ = ["Told"]


class Told:
    """A session with a pruner, and what it counted of the closed epochs.

    Attributes
    ----------
    pruner : Pruner
        Plans, scores, savings and report of the run.

    Examples
    --------
    >>> from ted_core import Pruner
    >>> from ted_core.told import Told
    >>> class Session(Told):
    ...     def __init__(self):
    ...         self.pruner = Pruner(4, epochs=5, prune_ratio=0.5)
    >>> Session().savings().forwarded
    0
    """

    pruner: Pruner

    def savings(self) -> Savings:
        """Return the samples saved in the closed epochs, counted (Eq. 24)."""
        return self.pruner.savings()

    def report(self) -> Report:
        """Return the counts of the closed epochs and the ids to look at."""
        return self.pruner.report()
