"""The errors and the warning that the library raises beside the built-in ones."""

from __future__ import annotations

import sys
import warnings

__all__ = ["CheckpointError", "ComparisonError", "EpochError", "TedWarning"]


class CheckpointError(ValueError):
    """A saved state does not fit: the message names the field and both values."""


class ComparisonError(RuntimeError):
    """A training of a comparison failed: the message names it, its error is chained."""


class EpochError(RuntimeError):
    """An epoch went wrong: nothing observed, nothing finite, or past the end."""


class TedWarning(UserWarning):
    """Something legal that is probably not what was meant."""


_OURS = {"ted_core", "ted_torch", "ted_keras"}


def warn_caller(message: str) -> None:
    """Warn at the line that called the library, from however deep inside of it."""
    level, frame = 1, sys._getframe()  # noqa: SLF001 - the one way to the callers
    while frame.f_globals.get("__name__", "").partition(".")[0] in _OURS:
        if frame.f_back is None:
            break
        level, frame = level + 1, frame.f_back
    warnings.warn(message, TedWarning, stacklevel=level)
