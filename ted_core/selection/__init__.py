"""Choose the samples of an epoch: top scores, random draws, and their randomness."""

from __future__ import annotations
