"""A demonstration that trains a small network: ``python -m ted_keras.demo``."""

from __future__ import annotations

from ted_core.demo import (
    Images,
    Settings,
    TimedRun,
    digits_as_images,
    load_images,
    make_record,
    make_result,
    read_runs,
)
from ted_keras.demo.comparison import compare
from ted_keras.demo.network import make_network
from ted_keras.demo.training import train

__all__ = [
    "Images",
    "Settings",
    "TimedRun",
    "compare",
    "digits_as_images",
    "load_images",
    "make_network",
    "make_record",
    "make_result",
    "read_runs",
    "train",
]
