"""The errors and the warning that the library raises beside the built-in ones."""

from __future__ import annotations

__all__ = ["CheckpointError", "ComparisonError", "EpochError", "TedWarning"]


class CheckpointError(ValueError):
    """A saved state does not fit: the message names the field and both values."""


class ComparisonError(RuntimeError):
    """A training of a comparison failed: the message names it, its error is chained."""


class EpochError(RuntimeError):
    """An epoch went wrong: nothing observed, nothing finite, or past the end."""


class TedWarning(UserWarning):
    """Something legal that is probably not what was meant."""
