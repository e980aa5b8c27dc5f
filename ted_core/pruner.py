"""Algorithm 1 without the network."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Unpack

import numpy as np
from numpy.typing import ArrayLike, NDArray

from ted_core.config import RunOptions, make_config
from ted_core.errors import EpochError
from ted_core.history import History, Report
from ted_core.plan import EpochPlan, make_plan
from ted_core.schedules.counts import Savings, StepOptions
from ted_core.scores import ScoreBook
from ted_core.state import Parts, read_state, write_state
from ted_core.typing import Scores, State

__all__ = [
    "Pruner",
    "Told",
]


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
        One rank's part of data that no rank holds whole; `n` are its samples.
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
        self.n, self.epochs, reduction = run.n, run.epochs, run.reduction
        self._book = ScoreBook(
            n, reduction=reduction, initial_scores=options.get("initial_scores")
        )
        self._history = History()
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
        return self._book.scores

    @property
    def visits(self) -> NDArray[np.uint16]:
        """Epochs in which each sample had a valid value, shape (n,), a copy."""
        return self._book.visits

    def plan(self) -> EpochPlan:
        """Return the current epoch's plan; pure in the state.

        Returns
        -------
        EpochPlan
            The same object until the epoch closes; O(n) the first time, on all ranks.

        Raises
        ------
        EpochError
            The run has finished.
        """
        self._refuse_finished("plan")
        if self._plan is None:
            self._plan = make_plan(self.config, self._book, self._epoch)
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
        self._refuse_finished("observe")
        self._book.observe(ids, values)

    def observe_sums(self, sums: ArrayLike, counts: ArrayLike) -> None:
        """Take an epoch's whole buffer; see `EpochBuffer.observe_sums`."""
        self._refuse_finished("observe_sums")
        self._book.observe_sums(sums, counts)

    def _refuse_finished(self, name: str) -> None:
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
        self._refuse_finished("advance")
        observed = self.config.layout.sum(self._book.pending)
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
            if self._book.pending:
                self._close()
            self._stopped = True

    def _close(self) -> None:
        self._history.close(self.plan(), self._book)
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
        return self._history.savings(self.n)

    @property
    def nonfinite_dropped(self) -> int:
        """Values not finite, and dropped, in the closed epochs."""
        return self._history.nonfinite_dropped

    def report(self) -> Report:
        """Return the counts of the closed epochs and the ids to look at."""
        return self._history.report(self._book)

    def state_dict(self) -> State:
        """Return the state: flat, little-endian, copied; an open epoch included."""
        plan = self.plan() if self._book.pending else self._plan
        parts = Parts(self._book, self._history.rows, self._epoch, self._stopped, plan)
        return write_state(self.config, parts)

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
        parts = read_state(state, self.config, self._book, allow=allow)
        parts.copy_into(self._book)
        self._history = History(parts.history)
        self._epoch, self._stopped, self._plan = parts.epoch, parts.stopped, parts.plan


class Told:
    """A session with a pruner, and what it counted of the closed epochs.

    Attributes
    ----------
    pruner : Pruner
        Plans, scores, savings and report of the run.

    Examples
    --------
    >>> from ted_core import Pruner
    >>> from ted_core.pruner import Told
    >>> class Session(Told):
    ...     def __init__(self):
    ...         self.pruner = Pruner(4, epochs=5, prune_ratio=0.5)
    >>> Session().savings().forwarded
    0
    """

    pruner: Pruner

    def savings(self) -> Savings:
        """Return the samples saved in the closed epochs, counted (Eq. 24)."""
        return self.pruner.savings()

    def report(self) -> Report:
        """Return the counts of the closed epochs and the ids to look at."""
        return self.pruner.report()
