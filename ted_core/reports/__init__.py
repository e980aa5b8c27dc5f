"""For a person to read: sample tables, metrics, an early warning, a preflight."""

from ted_core.reports.early_warning import Preflight, early_warning
from ted_core.reports.metrics import run_metrics
from ted_core.reports.sample_table import SampleTable, sample_table

__all__ = ["Preflight", "SampleTable", "early_warning", "run_metrics", "sample_table"]
