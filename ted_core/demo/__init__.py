"""A demonstration on scikit-learn's digits: ``python -m ted_core.demo``."""

from __future__ import annotations

from ted_core.demo.datasets import Digits, Images, load_digits, load_images
from ted_core.demo.results import Run
from ted_core.demo.softmax import train

__all__ = ["Digits", "Images", "Run", "load_digits", "load_images", "train"]
