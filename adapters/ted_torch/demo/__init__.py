"""A demonstration that trains a small network: ``python -m ted_torch.demo``."""

from __future__ import annotations

from ted_torch.demo.comparison import compare
from ted_torch.demo.data import Images, digits_as_images, load_images
from ted_torch.demo.network import make_network
from ted_torch.demo.records import make_record, make_result, read_runs
from ted_torch.demo.runs import Settings, TorchRun
from ted_torch.demo.training import Training

__all__ = [
    "Images",
    "Settings",
    "TorchRun",
    "Training",
    "compare",
    "digits_as_images",
    "load_images",
    "make_network",
    "make_record",
    "make_result",
    "read_runs",
]
