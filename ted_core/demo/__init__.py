"""A demonstration on scikit-learn's digits: ``python -m ted_core.demo``."""

from __future__ import annotations

from ted_core.demo.data import Digits, load_digits
from ted_core.demo.images import Images, digits_as_images, load_images
from ted_core.demo.records import make_record, make_result, read_runs
from ted_core.demo.runs import Settings, TimedRun
from ted_core.demo.table import make_table
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
