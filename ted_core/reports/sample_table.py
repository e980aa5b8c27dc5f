"""Which samples a run kept most and least often."""

from __future__ import annotations

import csv
from dataclasses import dataclass
from os import PathLike
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ted_core._validation import check_int, check_kind
from ted_core.history import data_frame, needed
from ted_core.pruner import Pruner
from ted_core.typing import Scores

__all__ = ["SampleTable", "sample_table"]

_COLUMNS = ("id", "visits", "score")
_SHOWN = 20


@dataclass(frozen=True, eq=False)
class SampleTable:
    """Samples with their visits and scores, the most often kept first.

    Its text is a table, of the first and the last ten if there are many.

    Parameters
    ----------
    ids : ndarray of int64, shape (m,)
        Sample ids.
    visits : ndarray of uint16, shape (m,)
        Epochs that kept the sample, trained on it, and had a valid value of it.
    scores : ndarray of float32, shape (m,)
        Scores; NaN where none yet.
    """

    ids: NDArray[np.int64]
    visits: NDArray[np.uint16]
    scores: Scores

    @classmethod
    def ordered(cls, visits: NDArray[np.uint16], scores: Scores) -> SampleTable:
        """Put all samples in order: by visits, then by score, both falling, then by id.

        Parameters
        ----------
        visits : ndarray of uint16, shape (n,)
            Of each sample.
        scores : ndarray of float32, shape (n,)
            Likewise; NaN comes after all others of as many visits.

        Returns
        -------
        SampleTable
            Of the ids 0 ... n - 1.
        """
        falling = -np.where(np.isnan(scores), -np.inf, scores)
        ids = np.lexsort((falling, -visits.astype(np.int32))).astype(np.int64)
        return cls(ids, visits[ids], scores[ids])

    def __len__(self) -> int:
        """Return the number of samples."""
        return int(self.ids.size)

    def most_kept(self, k: int) -> SampleTable:
        """Return the `k` samples kept most often, the most often kept first.

        Parameters
        ----------
        k : int
            How many, at least 0; all if there are fewer.

        Returns
        -------
        SampleTable
            Views of the first rows.
        """
        return self._rows(slice(check_int("k", k, minimum=0)))

    def least_kept(self, k: int) -> SampleTable:
        """Return the `k` samples kept least often, the least often kept first.

        Parameters
        ----------
        k : int
            How many, at least 0; all if there are fewer.

        Returns
        -------
        SampleTable
            Views of the last rows, turned round.
        """
        return self._rows(slice(None, -check_int("k", k, minimum=0) - 1, -1))

    def to_csv(self, path: str | PathLike[str]) -> None:
        """Write the table as text: a head, and a line a sample.

        Parameters
        ----------
        path : str or path
            File to write, UTF-8; ``nan`` stands where there is no score.
        """
        with Path(path).open("w", encoding="utf-8", newline="") as file:
            writer = csv.writer(file)
            writer.writerow(_COLUMNS)
            columns = self.ids, self.visits, self.scores
            writer.writerows(zip(*(c.tolist() for c in columns), strict=True))

    def to_parquet(self, path: str | PathLike[str]) -> None:
        """Write the table as Parquet, through pandas and pyarrow.

        Parameters
        ----------
        path : str or path
            File to write; ``pandas.read_parquet`` gives :meth:`to_dataframe` back.

        Raises
        ------
        ModuleNotFoundError
            There is no pandas or no pyarrow.
        """
        needed("pyarrow", by="to_parquet")
        self.to_dataframe().to_parquet(path, engine="pyarrow")

    def to_dataframe(self) -> Any:
        """Return the table as a pandas DataFrame, with ``id`` as its index.

        Returns
        -------
        pandas.DataFrame
            Columns ``visits`` and ``score``.

        Raises
        ------
        ModuleNotFoundError
            There is no pandas.
        """
        columns: dict[str, NDArray[Any]] = {
            "visits": self.visits,
            "score": self.scores,
        }
        return data_frame(columns, index=("id", self.ids))

    def __str__(self) -> str:
        """Return the table as text."""
        head = f"{_COLUMNS[0]:>10}{_COLUMNS[1]:>8}{_COLUMNS[2]:>12}"
        if len(self) <= _SHOWN:
            return "\n".join([head, *self._lines()])
        first, last = slice(_SHOWN // 2), slice(-_SHOWN // 2, None)
        dots = f"{'...':>10}"
        return "\n".join([head, *self._lines(first), dots, *self._lines(last)])

    def _lines(self, part: slice = slice(None)) -> list[str]:
        rows = zip(self.ids[part], self.visits[part], self.scores[part], strict=True)
        return [f"{k:10d}{visits:8d}{score:12.4g}" for k, visits, score in rows]

    def _rows(self, part: slice) -> SampleTable:
        return SampleTable(self.ids[part], self.visits[part], self.scores[part])


def sample_table(pruner: Pruner) -> SampleTable:
    """Return every sample of a run, the most often kept first.

    Where the hard samples are kept, those kept most often are the ones that the network
    never learns: among them are most of the wrong labels.

    Parameters
    ----------
    pruner : Pruner
        The run, at any moment; the open epoch does not count yet.

    Returns
    -------
    SampleTable
        As :meth:`SampleTable.ordered` puts them.

    Raises
    ------
    TypeError
        `pruner` is no Pruner.

    Notes
    -----
    O(n log n).

    Examples
    --------
    >>> import ted_core as ted
    >>> pruner = ted.Pruner(4, epochs=5, prune_ratio=0.5)
    >>> for _ in range(3):
    ...     order = pruner.plan().order
    ...     pruner.observe(order, order * 0.5)
    ...     pruner.advance()
    >>> print(ted.sample_table(pruner).most_kept(2))
            id  visits       score
             3       3         1.5
             2       3           1
    """
    check_kind("pruner", pruner, Pruner)
    return SampleTable.ordered(pruner.visits, pruner.scores)
