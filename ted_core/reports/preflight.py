"""What a session's ``check()`` found before the first step."""

from __future__ import annotations

import warnings
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Literal, TypeAlias

from ted_core.errors import TedWarning
from ted_core.schedules.counts import steps_for

__all__ = ["Finding", "Preflight"]

Level: TypeAlias = Literal["ok", "warn", "fail"]


@dataclass(frozen=True)
class Finding:
    """One line of a check: what was looked at, and what it means.

    Parameters
    ----------
    name : str
        What was looked at, "kept counts" say.
    level : {"ok", "warn", "fail"}
        "fail" makes the training wrong or stops it; "warn" may be meant.
    text : str
        What was found, and the remedy where there is one.

    Examples
    --------
    >>> from ted_core.reports import Finding
    >>> print(Finding("sampler", "ok", "the session's own"))
    ok    sampler: the session's own
    """

    name: str
    level: Level
    text: str

    def __str__(self) -> str:
        """Return the finding as a line."""
        return f"{self.level:4}  {self.name}: {self.text}"


@dataclass(frozen=True)
class Preflight:
    """What a session's ``check()`` found, a line each; its text is the lines.

    Parameters
    ----------
    findings : tuple of Finding
        In the order in which they were looked at.

    Examples
    --------
    >>> from ted_core.reports import Finding, Preflight
    >>> report = Preflight((Finding("ids", "ok", "arrive"),))
    >>> report.ok, str(report)
    (True, 'ok    ids: arrive')
    """

    findings: tuple[Finding, ...]

    @property
    def ok(self) -> bool:
        """Whether nothing fails; warnings are allowed."""
        return all(finding.level != "fail" for finding in self.findings)

    def __getitem__(self, name: str) -> Finding:
        """Return the finding of a name."""
        for finding in self.findings:
            if finding.name == name:
                return finding
        known = ", ".join(finding.name for finding in self.findings)
        msg = f"`name` must be one of {known}, got {name!r}"
        raise KeyError(msg)

    def __str__(self) -> str:
        """Return the findings as text, a line each."""
        return "\n".join(map(str, self.findings))

    def raise_failures(self) -> None:
        """Raise the findings that fail, all in one error.

        Raises
        ------
        ValueError
            Something fails.
        """
        failures = [one for one in self.findings if one.level == "fail"]
        if failures:
            raise ValueError("\n".join(one.text for one in failures))

    def warn(self, *, stacklevel: int = 2) -> None:
        """Warn of the findings that may be meant.

        Parameters
        ----------
        stacklevel : int, default 2
            As of :func:`warnings.warn`.

        Warns
        -----
        TedWarning
            One for each finding of the level "warn".
        """
        for finding in self.findings:
            if finding.level == "warn":
                warnings.warn(finding.text, TedWarning, stacklevel=stacklevel + 1)


def count_findings(
    counts: Iterable[int],
    batch_size: int,
    *,
    world_size: int = 1,
    drop_last: bool = False,
) -> list[Finding]:
    """Hold the kept counts of the epochs against the batch of each process."""
    sizes = [-(-count // world_size) for count in counts]
    steps = [steps_for(size, batch_size, drop_last=drop_last) for size in sizes]
    epochs = f"{len(sizes)} epochs of {min(sizes)} to {max(sizes)} samples"
    empty = [epoch for epoch, number in enumerate(steps) if number == 0]
    if empty:
        text = (
            f"an epoch must have at least one batch of {batch_size}, got none in "
            f"{_named(empty)}, whose last batch `drop_last` drops; give a smaller "
            f"batch, or multiple_of={batch_size * world_size}"
        )
        return [Finding("kept counts", "fail", text)]
    found = [Finding("kept counts", "ok", f"{epochs}, {sum(steps)} steps in all")]
    ones = [epoch for epoch, size in enumerate(sizes) if size % batch_size == 1]
    if ones and batch_size > 1 and not drop_last:
        text = (
            f"the last batch has one sample in {_named(ones)}, which a batch norm "
            f"can't normalise; give multiple_of={batch_size * world_size}"
        )
        found.append(Finding("last batch", "warn", text))
    return found


def _named(epochs: list[int], shown: int = 5) -> str:
    """Return some epochs by number."""
    names = ", ".join(map(str, epochs[:shown]))
    more = f" and {len(epochs) - shown} more" if len(epochs) > shown else ""
    return f"epoch{'s' if len(epochs) > 1 else ''} {names}{more}"
