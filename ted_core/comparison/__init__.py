"""Does pruning pay on your data? Arms of equal samples, over seeds, judged by pairs.

:func:`ted_core.compare` runs them; what it returns is here.
"""

from ted_core.comparison._statistics import Difference
from ted_core.comparison.results import Comparison, Row
from ted_core.comparison.runs import compare

__all__ = ["Comparison", "Difference", "Row", "compare"]
