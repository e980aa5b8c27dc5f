"""The ranking in a saved state, without the run that made it."""

from __future__ import annotations

import ast
from collections.abc import Mapping
from typing import Any

from ted_core._checks import to_numpy
from ted_core.errors import CheckpointError
from ted_core.reductions import Count, Last, Mean, Polyak, Reduction
from ted_core.scores import ScoreBook
from ted_core.state_fields import array_field, check_header, check_scores, plain_field
from ted_core.strategies.ucb import MeanAndVariance
from ted_core.typing import Scores

__all__ = ["ranking_of_state"]

_REDUCTIONS: dict[str, Any] = {
    kind.__name__: kind for kind in (Count, Last, Mean, MeanAndVariance, Polyak)
}
_SESSION = "pruner."


def ranking_of_state(state: Mapping[str, Any]) -> Scores:
    """Return the scores of a saved run, as a strategy of its next epoch gets them.

    Parameters
    ----------
    state : mapping
        ``Pruner.state_dict()`` between two epochs or after ``finish()``, or that of a
        ``ted_torch`` session, in which an open epoch does not count.

    Returns
    -------
    ndarray of float32, shape (n,)
        The score; ``inf`` for a sample never presented; the median for one presented
        without a valid value.

    Raises
    ------
    TypeError
        `state` is no mapping.
    CheckpointError
        It is no pruner's state or damaged, an epoch is open, or its reduction is not of
        this library.

    Notes
    -----
    O(n).

    Examples
    --------
    >>> import ted_core as ted
    >>> from ted_core.strategies.states import ranking_of_state
    >>> ranking_of_state(ted.Pruner(2, epochs=5).state_dict()).tolist()
    [inf, inf]
    """
    if isinstance(state, Mapping) and f"{_SESSION}format" in state:
        state = {
            str(name).removeprefix(_SESSION): _plain(value)
            for name, value in state.items()
            if str(name).startswith(_SESSION)
        }
    check_header(state)
    pending = plain_field(state, "pending", int)
    if pending:
        msg = (
            f"`state` must be taken between two epochs, got {pending} observations of "
            "an open one; call `finish()` before `state_dict()`"
        )
        raise CheckpointError(msg)
    reduction = _reduction(plain_field(state, "reduction", str))
    book = ScoreBook(plain_field(state, "n", int), reduction=reduction)
    book = book.over(
        {
            name: array_field(state, f"book.{name}", array)
            for name, array in book.arrays().items()
        }
    )
    check_scores(book)
    return book.ranking()


def _plain(value: Any) -> Any:
    """Return a tensor as NumPy, and all else as it is."""
    return to_numpy(value) if hasattr(value, "detach") else value


def _reduction(text: str) -> Reduction:
    """Make the reduction that has this repr."""
    try:
        call = ast.parse(text, mode="eval").body
        if isinstance(call, ast.Call) and isinstance(call.func, ast.Name):
            options = {str(k.arg): ast.literal_eval(k.value) for k in call.keywords}
            made: Reduction = _REDUCTIONS[call.func.id](**options)
            if repr(made) == text:
                return made
    except (KeyError, SyntaxError, TypeError, ValueError, RecursionError, MemoryError):
        pass
    msg = (
        f"`reduction` must be one of this library's, saved {text!r}; rank by "
        "`Static(pruner.scores)` of the run itself"
    )
    raise CheckpointError(msg)
