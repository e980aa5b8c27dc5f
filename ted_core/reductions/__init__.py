"""How the values of one sample over the epochs become its score.

A reduction works on compact arrays, one entry for each sample that was observed in
the epoch, and names the state columns that it needs beside the score.
"""

from __future__ import annotations

from ted_core.reductions.base import Columns, Reduction
from ted_core.reductions.polyak import Polyak, polyak_update
from ted_core.reductions.simple import Count, Last, Mean

__all__ = ["Columns", "Count", "Last", "Mean", "Polyak", "Reduction", "polyak_update"]
