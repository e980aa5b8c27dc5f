"""A demonstration on scikit-learn's digits: ``python -m ted_core.demo``."""

from __future__ import annotations

from ted_core.demo.data import Digits, load_digits
from ted_core.demo.table import make_table
from ted_core.demo.training import Run, train

__all__ = ["Digits", "Run", "load_digits", "make_table", "train"]
