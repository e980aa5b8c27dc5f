"""When to prune, and how many samples that forwards (Figs. 3, 7 and 9)."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from ted_core._validation import check_int
from ted_core.schedules import Constant, Schedule, keep_counts, keep_ratios

__all__ = ["forwarded_samples", "prune_from"]


def prune_from(
    start: int, epochs: int, *, sessions: int | None = None, prune_ratio: float = 0.7
) -> Constant:
    r"""Return a schedule that prunes in a few epochs from `start` on, then no more.

    Parameters
    ----------
    start : int
        t, the first epoch that prunes, in [0, epochs - sessions].
    epochs : int
        Epochs of the run, at least 1; the schedule is good for this number only.
    sessions : int, optional
        Epochs that prune, at least 1; a tenth of `epochs` by default, and
        ``epochs - start`` prunes to the end.
    prune_ratio : float, default 0.7
        s, the share pruned in each of them, in [0, 1).

    Returns
    -------
    Constant
        Full data in the `start` epochs before and in those after.

    Raises
    ------
    ValueError, TypeError
        An argument is out of its range or of a wrong type.

    Notes
    -----
    With ``Random`` it is the experiment by which the paper lets pruning grow over time.
    Source: TED, ECAI 2024, Sec. 3.4, Fig. 3.

    Examples
    --------
    >>> from ted_core import keep_ratios
    >>> from ted_core.analysis import prune_from
    >>> keep_ratios(prune_from(1, 5, sessions=2, prune_ratio=0.5), 5).tolist()
    [1.0, 0.5, 0.5, 1.0, 1.0]
    """
    epochs = check_int("epochs", epochs, minimum=1)
    if sessions is None:
        sessions = max(1, round(epochs / 10))
    sessions = check_int("sessions", sessions, minimum=1, maximum=epochs)
    start = check_int("start", start, minimum=0, maximum=epochs - sessions)
    after = epochs - start - sessions
    return Constant(prune_ratio, warmup=start, anneal=after / epochs)


def forwarded_samples(
    schedule: Schedule, epochs: int, n: int, *, multiple_of: int = 1
) -> NDArray[np.int64]:
    r"""Return the samples that a schedule forwards up to the end of each epoch.

    Parameters
    ----------
    schedule, epochs : Schedule and int
        As :func:`ted_core.keep_ratios` takes and refuses them.
    n, multiple_of : int
        As :func:`ted_core.keep_count` takes and refuses them.

    Returns
    -------
    ndarray of int64, shape (epochs,)
        Running total; the last is RFS, and TFS is ``n * epochs`` (Eq. 24).

    Notes
    -----
    For a strategy of ``known_count``. O(epochs).
    Source: TED, ECAI 2024, Eq. 24, Figs. 7 and 9.

    Examples
    --------
    >>> from ted_core import Constant
    >>> from ted_core.analysis import forwarded_samples
    >>> forwarded_samples(Constant(0.5, anneal=0.25), 4, 100).tolist()
    [50, 100, 150, 250]
    """
    ratios = keep_ratios(schedule, epochs)
    return np.cumsum(keep_counts(n, ratios, multiple_of=multiple_of), dtype=np.int64)
