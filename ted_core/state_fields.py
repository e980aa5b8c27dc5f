"""The fields of a pruner's state, checked as they are read."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ted_core.errors import CheckpointError
from ted_core.scores import ALL_FLAGS, ScoreBook
from ted_core.thresholds import pieces

__all__ = [
    "FORMAT",
    "VERSION",
    "array_field",
    "check_header",
    "check_scores",
    "plain_field",
]

FORMAT = "ted_core.Pruner"
"""What a pruner's state calls itself."""

VERSION = 1
"""Version of the state that this library writes."""


def check_header(state: Mapping[str, Any]) -> None:
    """Refuse what is no pruner's state of this version."""
    if not isinstance(state, Mapping):
        msg = f"`state` must be a mapping, got {type(state).__name__}"
        raise TypeError(msg)
    for name, here in (("format", FORMAT), ("version", VERSION)):
        saved = plain_field(state, name, type(here))
        if saved != here:
            msg = f"`{name}` must be {here!r}, saved {saved!r}"
            raise CheckpointError(msg)


def plain_field(state: Mapping[str, Any], name: str, kind: type) -> Any:
    """Return a field that holds one value of this very type."""
    if name not in state:
        msg = f"`state` must have {name!r}, got only {sorted(map(str, state))}"
        raise CheckpointError(msg)
    value = state[name]
    if type(value) is not kind:
        msg = f"`{name}` must be {kind.__name__}, saved {value!r}"
        raise CheckpointError(msg)
    return value


def array_field(
    state: Mapping[str, Any], name: str, like: NDArray[Any]
) -> NDArray[Any]:
    """Return a field that holds an array of the shape and dtype of `like`."""
    if name not in state:
        msg = f"`state` must have {name!r}, got only {sorted(map(str, state))}"
        raise CheckpointError(msg)
    array = state[name]
    wanted = like.dtype.newbyteorder("<")
    if (
        not isinstance(array, np.ndarray)
        or array.dtype != wanted
        or array.shape != like.shape
    ):
        found = getattr(array, "dtype", type(array).__name__)
        msg = (
            f"`{name}` must be {wanted} of shape {like.shape}, saved {found} of shape "
            f"{getattr(array, 'shape', ())}"
        )
        raise CheckpointError(msg)
    return array


def check_scores(book: ScoreBook) -> None:
    """Refuse scores that are not finite where there were visits, and odd flags."""
    arrays = book.arrays()
    most = int(arrays["flags"].max())
    if most > ALL_FLAGS:
        msg = f"`book.flags` must be at most {ALL_FLAGS}, saved {most}"
        raise CheckpointError(msg)
    for part in pieces(book.n):
        for name in book.reduction.extra_columns:
            if not np.isfinite(arrays[name][part]).all():
                msg = f"`book.{name}` must be finite, saved others"
                raise CheckpointError(msg)
        seen = arrays["visits"][part] > 0
        wrong = np.flatnonzero(np.isfinite(arrays["score"][part]) != seen)
        if wrong.size:
            at = int(wrong[0]) + part.start
            msg = (
                "`book.score` must be finite where visited and NaN elsewhere, saved "
                f"{arrays['score'][at]} at {at} with {arrays['visits'][at]} visits"
            )
            raise CheckpointError(msg)
