"""A demonstration on scikit-learn's digits: ``python -m ted_core.demo``."""

from __future__ import annotations

from ted_core.demo.datasets import (
    Digits,
    Images,
    digits_as_images,
    load_digits,
    load_images,
)
from ted_core.demo.results import (
    Settings,
    TimedRun,
    make_record,
    make_result,
    make_table,
    read_runs,
)
from ted_core.demo.training import Run, train

__all__ = [
    "Digits",
    "Images",
    "Run",
    "Settings",
    "TimedRun",
    "digits_as_images",
    "load_digits",
    "load_images",
    "make_record",
    "make_result",
    "make_table",
    "read_runs",
    "train",
]
