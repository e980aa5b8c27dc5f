"""Demonstrations, one engine for every framework: ``python -m ted_core.demo``."""

from ted_core.demo.datasets import load_digits

__all__ = ["load_digits"]
