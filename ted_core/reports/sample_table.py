"""Which samples a run kept most and least often."""

from __future__ import annotations

import csv
from dataclasses import dataclass
from io import TextIOWrapper
from os import PathLike
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ted_core._validation import check_int, check_kind
from ted_core.checkpoint import atomic_write
from ted_core.errors import warn_caller
from ted_core.history import import_optional, shown_rows, to_dataframe
from ted_core.pruner import Pruner
from ted_core.signals import INPUTS
from ted_core.typing import Scores

__all__ = ["SampleTable", "sample_table"]

_COLUMNS = ("id", "update_count", "score")
# What signals that read no labels keep.
_KEPT = {
    "margin": "the most ambiguous ones",
    "least_confidence": "those of the least sure predictions",
}


@dataclass(frozen=True, eq=False)
class SampleTable:
    """Samples with their update counts and scores, the most often kept first.

    Its text is a table, of the first and the last ten if there are many, and below it
    the signal.

    Parameters
    ----------
    ids : ndarray of int64, shape (m,)
        Sample ids.
    update_counts : ndarray of uint16, shape (m,)
        Epochs that kept the sample, trained on it, and had a valid value of it.
    scores : ndarray of float32, shape (m,)
        Scores; NaN where none yet.
    signal : str or None
        What chose the samples; None for a strategy that uses no scores, as `Random`.
    """

    ids: NDArray[np.int64]
    update_counts: NDArray[np.uint16]
    scores: Scores
    signal: str | None

    def __len__(self) -> int:
        """Return the number of samples."""
        return int(self.ids.size)

    def most_kept(self, k: int) -> SampleTable:
        """Return views of the `k` samples kept most often, the most often kept first.

        Parameters
        ----------
        k : int
            How many, at least 0; all if there are fewer.

        Warns
        -----
        TedWarning
            The signal does not read the labels (``"margin"``, of
            ``method="soft_margin"``, and ``"least_confidence"``), or none chose the
            samples: this is no list of wrong labels then.
        """
        most = self._rows(slice(check_int("k", k, minimum=0)))
        if not self.reads_labels:
            what, why = "any", "no signal chose them"
            if self.signal is not None:
                what = _KEPT.get(self.signal, "those of the highest scores")
                why = f"signal={self.signal!r} does not read the labels"
            warn_caller(
                f"the samples kept most often are {what}, and no suspects of wrong "
                f"labels: {why}; to find wrong labels, run `method='ted_loss'`"
            )
        return most

    @property
    def reads_labels(self) -> bool:
        """Whether what chose the samples knows of their labels."""
        return bool({"labels", "losses"} & {*INPUTS.get(self.signal or "", ())})

    def least_kept(self, k: int) -> SampleTable:
        """Return views of the `k` samples kept least often, the least often first.

        Parameters
        ----------
        k : int
            How many, at least 0; all if there are fewer.
        """
        return self._rows(slice(None, -check_int("k", k, minimum=0) - 1, -1))

    def to_csv(self, path: str | PathLike[str]) -> None:
        """Write the table as text, atomically: a head, and a line a sample.

        Parameters
        ----------
        path : str or path
            File to write, UTF-8; ``nan`` stands where there is no score.
        """
        columns = self.ids, self.update_counts, self.scores
        with atomic_write(path) as file:
            text = TextIOWrapper(file, encoding="utf-8", newline="")
            writer = csv.writer(text)
            writer.writerow(_COLUMNS)
            writer.writerows(zip(*(c.tolist() for c in columns), strict=True))
            text.detach()  # flushed; the file is closed by its owner

    def to_parquet(self, path: str | PathLike[str]) -> None:
        """Write the table as Parquet, atomically, by pandas and pyarrow.

        Parameters
        ----------
        path : str or path
            File to write; ``pandas.read_parquet`` gives :meth:`to_dataframe` back.

        Raises
        ------
        ModuleNotFoundError
            There is no pandas or no pyarrow.
        """
        import_optional("pyarrow", needed_by="to_parquet")
        frame = self.to_dataframe()
        with atomic_write(path) as file:
            frame.to_parquet(file, engine="pyarrow")

    def to_dataframe(self) -> Any:
        """Return the table as a pandas DataFrame, with ``id`` as its index.

        Raises
        ------
        ModuleNotFoundError
            There is no pandas.
        """
        columns: dict[str, NDArray[Any]]
        columns = {"update_count": self.update_counts, "score": self.scores}
        return to_dataframe(columns, index=("id", self.ids))

    def __str__(self) -> str:
        """Return the table as text."""
        lines = [f"{_COLUMNS[0]:>10}{_COLUMNS[1]:>14}{_COLUMNS[2]:>12}"]
        for row in shown_rows(len(self)):
            if row is None:
                lines.append(f"{'...':>10}")
                continue
            count, score = self.update_counts[row], self.scores[row]
            lines.append(f"{self.ids[row]:10d}{count:14d}{score:12.4g}")
        return "\n".join([*lines, f"signal: {self.signal}"])

    __repr__ = __str__

    def _rows(self, part: slice) -> SampleTable:
        columns = self.ids[part], self.update_counts[part], self.scores[part]
        return SampleTable(*columns, self.signal)


def ordered(
    update_counts: NDArray[np.uint16], scores: Scores, signal: str | None
) -> SampleTable:
    """Order samples by update count, then score, the highest first, then by id."""
    falling = -np.where(np.isnan(scores), -np.inf, scores)
    ids = np.lexsort((falling, -update_counts.astype(np.int32))).astype(np.int64)
    return SampleTable(ids, update_counts[ids], scores[ids], signal)


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
        Ordered by update count, then by score, the highest first, then by id; a sample
        without a score comes after all others of its count.

    Raises
    ------
    TypeError
        `pruner` is no Pruner.

    Notes
    -----
    O(n log n).

    Examples
    --------
    >>> import ted_core
    >>> pruner = ted_core.Pruner(4, epochs=5, prune_ratio=0.5)
    >>> for _ in range(3):
    ...     order = pruner.plan().order
    ...     pruner.observe(order, order * 0.5)
    ...     pruner.advance()
    >>> print(ted_core.sample_table(pruner).most_kept(2))
            id  update_count       score
             3             3         1.5
             2             3           1
    signal: mask_gradient
    """
    check_kind("pruner", pruner, Pruner)
    config = pruner.config
    signal = config.signal if config.strategy.uses_scores else None
    return ordered(pruner.update_counts, pruner.scores, signal)
