"""Does pruning pay on your data? Arms of equal samples, over seeds, judged by pairs.

:func:`ted_core.compare` runs them; what it returns, and its statistics, are here.
"""

from __future__ import annotations

from ted_core.comparison.results import Comparison, Row
from ted_core.comparison.runs import compare
from ted_core.comparison.statistics import Difference, holm, paired_difference

__all__ = ["Comparison", "Difference", "Row", "compare", "holm", "paired_difference"]
