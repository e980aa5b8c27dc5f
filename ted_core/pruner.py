"""Algorithm 1 without the network."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Unpack

import numpy as np
from numpy.typing import ArrayLike, NDArray

from ted_core._state import Progress, read_state, write_state
from ted_core.config import RunOptions, make_config
from ted_core.errors import EpochError
from ted_core.history import HISTORY, EpochAccounts, Report, Rows
from ted_core.plan import EpochPlan, make_plan
from ted_core.schedules.counts import Savings, StepOptions
from ted_core.scores import ScoreTable
from ted_core.typing import Scores, State

__all__ = ["Pruner"]


class Pruner:
    r"""Plan every epoch of a run from what was observed before (Algorithm 1).

    O(n) an epoch; 7 bytes a sample between epochs, 5 + 4 r_t more during one.

    Parameters
    ----------
    n, epochs : int
        Samples, at least 1, with ids 0 ... n - 1; epochs, at least 2, below 5 warns.
    prune_ratio, schedule : float or Schedule, optional
        s of a :class:`RollerCoaster`, 0.7 by default, or a schedule instead.
    method : {"ted", "ted_loss", "soft_margin", "random"}, default "ted"
        Names a signal and a strategy, of `ted_core.config`; or give these two:
    strategy, signal : Strategy and str, by default ``TopScore()``, "mask_gradient"
        Which samples are kept, by which of `ted_core.signals`.
    reduction : Reduction, default ``Polyak(0.9)`` or the strategy's or signal's own
        How the values over the epochs become a score (Eq. 19).
    seed : int, default 0
        Seed of order, draws and ties, in [0, 2^64).
    multiple_of : int, default 1
        Kept counts are rounded up to a multiple of this, never above `n`.
    scale_loss : bool, default True
        Whether the plan's `loss_scale` is 1 / r_t (Eq. 23) or 1.
    labels, initial_scores : array_like of int and of float, shape (n,), optional
        Class of each sample, for class floors; finite scores to start from.
    shard : Shard, optional
        One process's part of data that none holds whole; `n` are its samples.
    **options : see above
        The others.

    Raises
    ------
    ValueError, TypeError
        An argument is out of its range, or two do not go together, by name.

    References
    ----------
    J. Xiao, P. Li, J. Nie, TED: Accelerate Model Training by Internal
    Generalization, ECAI 2024, Algorithm 1.

    Examples
    --------
    >>> import ted_core as ted
    >>> pruner = ted.Pruner(100, epochs=10, prune_ratio=0.7)
    >>> while not pruner.finished:
    ...     plan = pruner.plan()
    ...     pruner.observe(plan.order, plan.order % 7)
    ...     pruner.advance()
    >>> round(pruner.savings().ratio, 2)
    0.49
    """

    def __init__(
        self,
        n: int,
        *,
        epochs: int,
        **options: Unpack[RunOptions],
    ) -> None:
        run = self.config = make_config(n, epochs, **options)
        self.n, self.epochs = run.n, run.epochs
        self._table = ScoreTable(
            n,
            reduction=run.reduction,
            initial_scores=options.get("initial_scores"),
        )
        self._history: Rows = {name: [] for name in HISTORY}
        self._epoch, self._stopped = 0, False
        self._plan: EpochPlan | None = None

    @property
    def epoch(self) -> int:
        """Current epoch, in [0, epochs]; `epochs` after the last one."""
        return self._epoch

    @property
    def finished(self) -> bool:
        """Whether the last epoch has closed or :meth:`finish` was called."""
        return self._stopped or self._epoch == self.epochs

    @property
    def planned(self) -> bool:
        """Whether the current epoch's plan is made already."""
        return self._plan is not None

    @property
    def scores(self) -> Scores:
        """Scores, float32, shape (n,), a copy; NaN where none yet."""
        return self._table.scores

    @property
    def update_counts(self) -> NDArray[np.uint16]:
        """Epochs in which each sample had a valid value, shape (n,), a copy."""
        return self._table.update_counts

    def plan(self) -> EpochPlan:
        """Return the current epoch's plan; pure in the state.

        Returns
        -------
        EpochPlan
            The same object until the epoch closes; O(n) the first time. With a shard
            all processes make it together.

        Raises
        ------
        EpochError
            The run has finished.
        """
        self._check_open("plan")
        if self._plan is None:
            self._plan = make_plan(self.config, self._table, self._epoch)
        return self._plan

    def observe(self, ids: ArrayLike, values: ArrayLike) -> None:
        """Take the values of one step of the current epoch, or of many: O(m).

        Parameters
        ----------
        ids : array_like of int, shape (m,)
            Sample ids in [0, n); any array, on any device.
        values : array_like of float, shape (m,)
            Unscaled values of the signal; one that is not finite is dropped.

        Raises
        ------
        ValueError, TypeError, EpochError
            An id is out of range, shapes or dtypes do not fit, the run has finished.
        """
        self._check_open("observe")
        self._table.observe(ids, values)

    def observe_sums(self, sums: ArrayLike, counts: ArrayLike) -> None:
        """Take an epoch's whole buffer; see :meth:`ScoreTable.observe_sums`."""
        self._check_open("observe_sums")
        self._table.observe_sums(sums, counts)

    def _check_open(self, name: str) -> None:
        if self.finished:
            msg = f"`{name}` needs an open epoch, got a run finished at {self._epoch}"
            raise EpochError(msg)

    def advance(self) -> None:
        """Close the current epoch: update the scores, go to the next.

        Raises
        ------
        EpochError
            The run has finished, nothing was observed for a strategy that needs it, or
            no observed value is finite; the state is unchanged then.
        """
        self._check_open("advance")
        observed = self.config.layout.sum(self._table.observed)
        if self.config.strategy.uses_scores and not observed:
            got = f"got none in epoch {self._epoch}; call `observe` in every step"
            msg = f"an epoch must have observed values, {got}"
            raise EpochError(msg)
        self._close()

    def finish(self) -> None:
        """Close the last epoch, or an early stop; harmless when repeated.

        Raises
        ------
        EpochError
            No observed value of the open epoch is finite.
        """
        if not self.finished:
            if self._table.observed:
                self._close()
            self._stopped = True

    def _close(self) -> None:
        plan = self.plan()
        accounts = EpochAccounts(plan.order, self._table.times)
        nonfinite = self._table.close(whole=not plan.kept_by_rank)
        planned, observed, distinct = (
            plan.order.size,
            accounts.observed,
            accounts.distinct,
        )
        row = (planned, observed, distinct, nonfinite, accounts.missing)
        for name, count in zip(HISTORY, row, strict=True):
            self._history[name].append(count)
        self._plan, self._epoch = None, self._epoch + 1

    def total_steps(self, batch_size: int, **options: Unpack[StepOptions]) -> int:
        """Count the optimizer steps of the run; see `RunConfig.total_steps`."""
        return self.config.total_steps(batch_size, **options)

    def max_total_steps(self, batch_size: int, **options: Unpack[StepOptions]) -> int:
        """Bound the optimizer steps; see `RunConfig.max_total_steps`."""
        return self.config.max_total_steps(batch_size, **options)

    def schedule_table(self) -> NDArray[np.void]:
        """Return every epoch's counts; see `RunConfig.schedule_table`."""
        return self.config.schedule_table()

    def savings(self) -> Savings:
        """Return the samples saved in the closed epochs, counted (Eq. 24)."""
        planned, observed = self._history["planned"], self._history["observed"]
        full = self.n * len(planned)
        return Savings(full=full, planned=sum(planned), forwarded=sum(observed))

    @property
    def nonfinite_dropped(self) -> int:
        """Values not finite, and dropped, in the closed epochs."""
        return sum(self._history["nonfinite"])

    def report(self) -> Report:
        """Return the counts of the closed epochs and the ids to look at."""
        counts = {k: np.array(row, np.int64) for k, row in self._history.items()}
        return Report(**counts, nonfinite_ids=self._table.nonfinite_ids)

    def state_dict(self) -> State:
        """Return the state: flat, little-endian, copied; an open epoch included.

        Returns
        -------
        dict of str to ndarray, str, int, float or bool
            To be given to :meth:`load_state_dict` or :func:`ted_core.save_state`.

        Raises
        ------
        TypeError
            A schedule, strategy or reduction of one's own is not registered; see
            :func:`ted_core.register_kind`.
        """
        plan = self.plan() if self._table.observed else self._plan
        run = Progress(self._table, self._history, self._epoch, self._stopped, plan)
        return write_state(self.config, run)

    def load_state_dict(
        self, state: Mapping[str, Any], *, allow: Sequence[str] = ()
    ) -> None:
        """Take over a saved state; on an error nothing has changed.

        Parameters
        ----------
        state : mapping
            What :meth:`state_dict` returned.
        allow : sequence of str, default ()
            ``"epochs"`` extends a run on purpose, between two epochs.

        Raises
        ------
        CheckpointError
            A field differs or is damaged, or an open epoch's order is not reproduced.
        """
        run = read_state(state, self.config, self._table, allow=allow)
        self._table.take_over(run.table)
        self._history, self._plan = run.history, run.plan
        self._epoch, self._stopped = run.epoch, run.stopped
