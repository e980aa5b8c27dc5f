"""What happened in the closed epochs, counted."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from importlib import import_module
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import ArrayLike, NDArray

from ted_core.config import RunConfig
from ted_core.schedules import Savings
from ted_core.typing import Counts, Floats, Ids

__all__ = ["Report"]

HISTORY = (
    "planned",
    "observed",
    "distinct",
    "forwarded",
    "weightless",
    "nonfinite",
    "missing",
)
"""Names of the counts of each closed epoch."""

TOKENS = ("planned_tokens", "forwarded_tokens")
"""Names of those that a run with lengths has beside them."""

Rows: TypeAlias = dict[str, list[Any]]
"""The counts by name, and the nominal ``"keep_ratio"``, one entry an epoch."""


def counts_of(config: RunConfig) -> tuple[str, ...]:
    """Return the names of the counts that a run has of each closed epoch."""
    return HISTORY if config.lengths is None else HISTORY + TOKENS


class EpochAccounts:
    """Hold the plan of an epoch against how often each sample was delivered."""

    # `expected`, shape (n,), is how often one pass over this process's share of the
    # order holds each sample: once each of the plan, if it is not given.

    def __init__(
        self, order: Ids, deliveries: Counts, *, expected: Counts | None = None
    ) -> None:
        self._order, self._planned_times = order, deliveries[order]
        self.planned = order.size
        self.observed = int(deliveries.sum(dtype=np.int64))
        self.distinct = int(np.count_nonzero(deliveries))
        self.delivered = int(np.count_nonzero(self._planned_times))
        self.missing = self.planned - self.delivered
        self.unexpected = self.distinct - self.delivered
        # Samples of the plan that were received, each once a pass.
        self.forwarded = self.delivered
        if expected is not None:
            once = np.minimum(deliveries, expected)
            self.forwarded = int(once.sum(dtype=np.int64))

    @property
    def exact(self) -> bool:
        """Whether each planned sample was delivered once, and no other."""
        return self.observed == self.delivered == self.planned

    @property
    def repeated_ids(self) -> Ids:
        """Planned samples that were delivered more than once, in the epoch's order."""
        repeated: Ids = self._order[self._planned_times > 1]
        return repeated

    def tokens(self, lengths: NDArray[np.int32]) -> dict[str, int]:
        """Return the tokens of the plan, and those delivered, each sample once."""
        planned = lengths[self._order]
        delivered = planned[self._planned_times > 0]
        sums = (int(part.sum(dtype=np.int64)) for part in (planned, delivered))
        return dict(zip(TOKENS, sums, strict=True))

    def missing_warning(self, epoch: int, max_missing: int) -> str:
        """Return what to say of more missing samples than `max_missing`, or ""."""
        if self.missing <= max_missing:
            return ""
        return (
            f"epoch {epoch} must deliver its {self.planned} planned samples, got "
            f"{self.delivered}: {self.missing} are missing, more than {max_missing} of "
            "an incomplete batch; look for a loop that ends early, a sampler that was "
            "replaced, items that were filtered out, or other ids than the batch's"
        )


def early_end_warning(config: RunConfig, epoch: int, remedy: str, by: str = "") -> str:
    """Return what to say of a run that ends before `epoch`, ended `by` something."""
    left = config.keep_ratios[epoch:]
    return (
        f"the run must have {config.epochs} epochs as planned, got {epoch}{by}: "
        f"{left.size} more, {int((left == 1).sum())} of them on all data, did not run; "
        f"{remedy}"
    )


def times_in(order: Ids, n: int) -> Counts:
    """Return how often an order holds each of n samples: `expected` of the accounts."""
    times = np.zeros(n, np.uint8)
    np.add.at(times, order, np.uint8(1))
    return times


def savings_of(
    n: int, planned: ArrayLike, missing: ArrayLike, forwarded: ArrayLike
) -> Savings:
    """Return the savings of closed epochs over `n` samples."""
    # An epoch that ended early counts as far as it went: that saved nothing.
    kept = np.asarray(planned, np.int64)
    delivered = kept - np.asarray(missing, np.int64)
    full = np.rint(n * (delivered / np.maximum(kept, 1)))
    return Savings(
        full=int(full.sum()),
        planned=int(delivered.sum()),
        forwarded=sum(np.asarray(forwarded, np.int64).tolist()),
    )


@dataclass(frozen=True, eq=False)
class Report:
    """Counts of the closed epochs, one entry each, and the samples to look at.

    Its text is a table with a line for each epoch, of many epochs for the first and the
    last ten, and below it the share of the samples that was saved.

    Parameters
    ----------
    keep_ratio : ndarray of float64, shape (e,)
        Share of the data that the plan kept, in (0, 1].
    planned : ndarray of int64, shape (e,)
        Samples the plan kept.
    observed : ndarray of int64, shape (e,)
        Deliveries: how often the loss received a sample, repeats included.
    distinct : ndarray of int64, shape (e,)
        Samples delivered at least once.
    forwarded : ndarray of int64, shape (e,)
        Samples of the plan that were delivered, each once a pass of each process.
    weightless : ndarray of int64, shape (e,)
        Kept samples delivered with weight 0 alone, which yields no value.
    nonfinite : ndarray of int64, shape (e,)
        Samples delivered whose value was not finite, or was never recorded because no
        backward pass followed.
    missing : ndarray of int64, shape (e,)
        Kept samples that were never delivered.
    nonfinite_ids : ndarray of int64
        Ids without a finite value in two epochs or more, ascending.
    weightless_ids : ndarray of int64
        Ids delivered with weight 0 in two epochs or more since their last value.
    undelivered_ids : ndarray of int64
        Ids planned in two epochs or more since they were last delivered.
    savings : Savings
        What all of these epochs saved, as `Pruner.savings` counts it.
    planned_tokens, forwarded_tokens : ndarray of int64, shape (e,), or None
        Sums of the `lengths` of the kept samples, and of those of them that were
        delivered, each once; without padding. None in a run without lengths.

    Examples
    --------
    >>> import ted_core
    >>> pruner = ted_core.Pruner(4, epochs=5, prune_ratio=0.5)
    >>> pruner.observe([0, 1, 2], [1.0, 2.0, 3.0])
    >>> pruner.advance()
    >>> pruner.report().missing.tolist()
    [1]
    >>> pruner.report().savings.ratio
    0.0
    """

    keep_ratio: Floats
    planned: NDArray[np.int64]
    observed: NDArray[np.int64]
    distinct: NDArray[np.int64]
    forwarded: NDArray[np.int64]
    weightless: NDArray[np.int64]
    nonfinite: NDArray[np.int64]
    missing: NDArray[np.int64]
    nonfinite_ids: NDArray[np.int64]
    weightless_ids: NDArray[np.int64]
    undelivered_ids: NDArray[np.int64]
    savings: Savings
    planned_tokens: NDArray[np.int64] | None = None
    forwarded_tokens: NDArray[np.int64] | None = None

    @property
    def repeated(self) -> NDArray[np.int64]:
        """Deliveries beyond the first of a sample, shape (e,)."""
        return self.observed - self.distinct

    def to_dataframe(self) -> Any:
        """Return the counts as a pandas DataFrame, a row for each ``epoch``.

        Raises
        ------
        ModuleNotFoundError
            There is no pandas.
        """
        return to_dataframe(
            self._columns(), index=("epoch", np.arange(self.planned.size))
        )

    def __str__(self) -> str:
        """Return the counts as text."""
        columns = {"epoch": np.arange(self.planned.size), **self._columns()}
        wide = {name: max(11, len(name) + 1) for name in columns}
        lines = ["".join(f"{name:>{w}}" for name, w in wide.items())]
        for row in shown_rows(self.planned.size):
            cells = {k: "..." if row is None else v[row] for k, v in columns.items()}
            if row is not None:
                cells["keep_ratio"] = f"{self.keep_ratio[row]:.3f}"
            lines.append("".join(f"{cells[name]:>{w}}" for name, w in wide.items()))
        saved, tokens = self.savings, self.savings.tokens
        total = f"{saved.forwarded} of {saved.full} samples forwarded"
        also = "" if tokens is None else f", {tokens.ratio:.1%} of the tokens saved"
        return "\n".join([*lines, f"saved {saved.ratio:.1%}: {total}{also}"])

    __repr__ = __str__

    def _columns(self) -> dict[str, NDArray[Any]]:
        """Return the counts by name, the keep ratios first."""
        names = ("keep_ratio", *HISTORY, *TOKENS)
        columns = {name: getattr(self, name) for name in names}
        return {name: row for name, row in columns.items() if row is not None}


def shown_rows(size: int, ends: int = 10) -> list[int | None]:
    """Return the rows to show of a table: of a long one its ends, with None between."""
    if size <= 2 * ends:
        return list(range(size))
    return [*range(ends), None, *range(size - ends, size)]


def to_dataframe(
    columns: Mapping[str, NDArray[Any]], *, index: tuple[str, NDArray[Any]]
) -> Any:
    """Return columns of equal length as a pandas DataFrame with a named index."""
    pandas = import_optional("pandas", needed_by="to_dataframe")
    name, values = index
    return pandas.DataFrame(dict(columns), index=pandas.Index(values, name=name))


def import_optional(module: str, *, needed_by: str, extra: str = "") -> Any:
    """Import what a single function needs, or say how to install its package."""
    try:
        return import_module(module)
    except ModuleNotFoundError:
        package = module.partition(".")[0]
        install = f"'ted-core[{extra}]'" if extra else package
        msg = f"`{needed_by}` needs {package}: pip install {install}"
        raise ModuleNotFoundError(msg, name=package) from None
