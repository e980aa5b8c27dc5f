"""A demonstration on scikit-learn's digits: ``python -m ted_core.demo``.

The engine compares variants; `softmax` and the demos of the adapters train them.
"""

from ted_core.demo.datasets import load_digits

__all__ = ["load_digits"]
