"""What a session's ``check()`` found before the first step."""

from __future__ import annotations

from dataclasses import dataclass

__all__ = ["Preflight"]


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
