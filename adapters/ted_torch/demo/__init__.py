"""A demonstration that trains a small network: ``python -m ted_torch.demo``."""

from __future__ import annotations

from ted_core.demo import (
    Images,
    TimedRun,
    digits_as_images,
    load_images,
    make_record,
    make_result,
    read_runs,
)
from ted_torch.demo.comparison import compare
from ted_torch.demo.network import make_network
from ted_torch.demo.settings import Settings
from ted_torch.demo.training import Training

__all__ = [
    "Images",
    "Settings",
    "TimedRun",
    "Training",
    "compare",
    "digits_as_images",
    "load_images",
    "make_network",
    "make_record",
    "make_result",
    "read_runs",
]
