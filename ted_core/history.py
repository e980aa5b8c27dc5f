"""What happened in the closed epochs, counted."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from importlib import import_module
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from ted_core.typing import Counts, Ids

__all__ = ["Report"]

HISTORY = ("planned", "observed", "distinct", "nonfinite", "missing")
"""Names of the counts of each closed epoch."""

Rows: TypeAlias = dict[str, list[int]]
"""The counts by name, one entry an epoch."""


class EpochAccounts:
    """Hold the plan of an epoch against how often each sample was delivered."""

    # Samples are in one of two states today: delivered, or planned and not delivered.
    # A third, delivered without a value, is one more array beside `times`.

    def __init__(self, order: Ids, times: Counts) -> None:
        self._order, self._planned_times = order, times[order]
        self.planned = order.size
        self.observed = int(times.sum(dtype=np.int64))
        self.distinct = int(np.count_nonzero(times))
        self.delivered = int(np.count_nonzero(self._planned_times))
        self.missing = self.planned - self.delivered
        self.unexpected = self.distinct - self.delivered

    @property
    def exact(self) -> bool:
        """Whether each planned sample was delivered once, and no other."""
        return self.observed == self.delivered == self.planned

    @property
    def missing_ids(self) -> Ids:
        """Planned samples that were not delivered, in the epoch's order."""
        missing: Ids = self._order[self._planned_times == 0]
        return missing

    @property
    def repeated_ids(self) -> Ids:
        """Planned samples that were delivered more than once, in the epoch's order."""
        repeated: Ids = self._order[self._planned_times > 1]
        return repeated


@dataclass(frozen=True, eq=False)
class Report:
    """Counts of the closed epochs, one entry each, and the samples to look at.

    Its text is a table with a line an epoch.

    Parameters
    ----------
    planned : ndarray of int64, shape (e,)
        Samples the plan kept.
    observed : ndarray of int64, shape (e,)
        Observations, repeats included: the samples forwarded.
    distinct : ndarray of int64, shape (e,)
        Samples observed at least once.
    nonfinite : ndarray of int64, shape (e,)
        Samples whose value was not finite and was dropped.
    missing : ndarray of int64, shape (e,)
        Kept samples that were never observed.
    nonfinite_ids : ndarray of int64
        Ids not finite in two epochs or more, ascending.

    Examples
    --------
    >>> import ted_core as ted
    >>> pruner = ted.Pruner(4, epochs=5, prune_ratio=0.5)
    >>> pruner.observe([0, 1, 2], [1.0, 2.0, 3.0])
    >>> pruner.advance()
    >>> pruner.report().missing.tolist()
    [1]
    """

    planned: NDArray[np.int64]
    observed: NDArray[np.int64]
    distinct: NDArray[np.int64]
    nonfinite: NDArray[np.int64]
    missing: NDArray[np.int64]
    nonfinite_ids: NDArray[np.int64]

    @property
    def repeated(self) -> NDArray[np.int64]:
        """Observations beyond the first of a sample, shape (e,)."""
        return self.observed - self.distinct

    def to_dataframe(self) -> Any:
        """Return the counts as a pandas DataFrame, a row an epoch.

        Returns
        -------
        pandas.DataFrame
            A column for each count; the index is ``epoch``.

        Raises
        ------
        ModuleNotFoundError
            There is no pandas.
        """
        columns = {name: getattr(self, name) for name in HISTORY}
        return to_dataframe(columns, index=("epoch", np.arange(self.planned.size)))

    def __str__(self) -> str:
        """Return the counts as text."""
        head = "".join(f"{name:>11}" for name in ("epoch", *HISTORY))
        rows = zip(*(getattr(self, name) for name in HISTORY), strict=True)
        lines = ["".join(f"{x:11d}" for x in (t, *row)) for t, row in enumerate(rows)]
        return "\n".join([head, *lines])


def to_dataframe(
    columns: Mapping[str, NDArray[Any]], *, index: tuple[str, NDArray[Any]]
) -> Any:
    """Return columns of equal length as a pandas DataFrame with a named index."""
    pandas = import_optional("pandas", needed_by="to_dataframe")
    name, values = index
    return pandas.DataFrame(dict(columns), index=pandas.Index(values, name=name))


def import_optional(package: str, *, needed_by: str) -> Any:
    """Import a package that a single method needs, or say how to install it."""
    try:
        return import_module(package)
    except ModuleNotFoundError:
        msg = f"`{needed_by}` needs {package}: pip install {package}"
        raise ModuleNotFoundError(msg, name=package) from None
