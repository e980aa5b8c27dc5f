"""What may go wrong in a run: found before its first step, or in its first epochs."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike

from ted_core._validation import as_array, check_epochs
from ted_core.errors import warn_caller

__all__ = ["LOSS_LEFT", "Preflight", "early_warning"]

LOSS_LEFT = 0.75
"""Share of the first epoch's loss above which :func:`early_warning` speaks."""


@dataclass(frozen=True)
class Preflight:
    """What was found before a run's first step; ``print`` makes a report of it.

    Parameters
    ----------
    lines : tuple of str
        Facts of the run, each under its name: epochs, steps, learning rate, mask.
    problems : tuple of str
        What may go wrong, with the remedy; each was a `TedWarning`, too.

    Examples
    --------
    >>> from ted_core.reports import Preflight
    >>> print(Preflight(lines=("epochs: 5",), problems=("a last batch of 1",)))
    epochs: 5
    problem: a last batch of 1
    """

    lines: tuple[str, ...]
    problems: tuple[str, ...] = ()

    def __str__(self) -> str:
        """Return the report: a line for each fact and each problem."""
        return "\n".join([*self.lines, *(f"problem: {one}" for one in self.problems)])

    @classmethod
    def finished(cls, epochs: int) -> Preflight:
        """Return the report of a run that is over.

        Parameters
        ----------
        epochs : int
            Epochs of the run.

        Returns
        -------
        Preflight
            One fact, no problem.
        """
        return cls((f"run: finished after {epochs} epochs, nothing to train",))


def early_warning(losses: ArrayLike, *, epochs: int) -> bool:
    """Warn when the training loss falls too slowly for the hardest samples to help.

    A ranking by difficulty, ``signal="loss"`` with :class:`TopScore` say, fails where
    what is hardest is what the network can't learn yet. It is a weak sign: it came
    where the ranking lost most, and in some settings where it did not lose.

    Parameters
    ----------
    losses : array_like of float, shape (e,)
        Mean loss of the samples trained on in each epoch so far, at least one, above 0
        and finite; as it is before it is divided by r_t.
    epochs : int
        T, epochs of the run, at least 2.

    Returns
    -------
    bool
        Whether the loss of epoch ``max(1, epochs // 8)`` is above :data:`LOSS_LEFT` of
        that of epoch 0; False before that epoch is over.

    Raises
    ------
    ValueError, TypeError
        An argument is out of its range or of a wrong type.

    Warns
    -----
    TedWarning
        Once: when the loss of that epoch is the last one given, and too high.

    Notes
    -----
    O(1); call it after each epoch.

    Examples
    --------
    >>> from ted_core.reports import early_warning
    >>> early_warning([2.3, 1.9, 1.4], epochs=16)
    False
    """
    total = check_epochs(epochs)
    values = as_array("losses", losses)
    if values.ndim != 1 or values.size == 0 or values.dtype.kind not in "fiu":
        msg = (
            "`losses` must hold the loss of at least one epoch, got "
            f"{values.dtype} of shape {values.shape}"
        )
        raise ValueError(msg)
    if not np.all(np.isfinite(values) & (values > 0)):
        epoch = int(np.argmin(np.isfinite(values) & (values > 0)))
        msg = f"`losses` must be finite and above 0, got {values[epoch]} at {epoch}"
        raise ValueError(msg)
    when = max(1, total // 8)
    if values.size <= when:
        return False
    left = float(values[when]) / float(values[0])
    if left <= LOSS_LEFT:
        return False
    if values.size == when + 1:
        warn_caller(
            f"`losses` must fall to {LOSS_LEFT:g} of the first in {when} epochs for "
            f"the hardest samples to be worth keeping, got {left:.2f}; prefer "
            '`method="soft_margin"`, or `method="random"`'
        )
    return True
