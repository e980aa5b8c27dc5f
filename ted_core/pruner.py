"""Algorithm 1 without the network."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any, Unpack

import numpy as np
from numpy.typing import ArrayLike, NDArray

from ted_core._scores import Received, ScoreTable
from ted_core._state import Progress, read_scores, read_state, write_state
from ted_core._validation import MAX_SAMPLES, check_epochs, check_int
from ted_core.config import (
    RunOptions,
    check_known,
    make_config,
    max_visited,
    single_sample_warning,
    steps_of,
    table_of,
)
from ted_core.errors import EpochError, warn_caller
from ted_core.history import (
    HISTORY,
    TOKENS,
    EpochAccounts,
    Report,
    Rows,
    counts_of,
    early_end_warning,
    savings_of,
    times_in,
)
from ted_core.plan import EpochPlan, make_plan
from ted_core.schedules import Savings, StepOptions
from ted_core.selection.sharded import repeat_order
from ted_core.typing import Floats, Scores, State

__all__ = ["Pruner"]

# An epoch that drops no more values than these, or than this share of its own, has met
# the odd one: a step that overflowed, or a few bad samples.
_FEW_DROPPED, _SHARE_DROPPED = 10, 0.1


class Pruner:
    r"""Plan every epoch of a run from what was observed before (Algorithm 1).

    O(n) an epoch; 7 bytes a sample between epochs, 7 + 4 r_t more during one.

    Parameters
    ----------
    n, epochs : int
        Samples, at least 1, with ids 0 ... n - 1; epochs, at least 2, of
        which so few that they save little warn; 1 where it has scores to prune by.
    prune_ratio, schedule : float or Schedule, optional
        s of a :class:`RollerCoaster`, 0.7 by default, or a schedule instead.
    method : {"ted", "ted_loss", "soft_margin", "importance", "random"}, default "ted"
        Names a signal and a strategy, of `ted_core.config`; or give these two:
    strategy, signal : Strategy and str, by default ``TopScore()``, "mask_gradient"
        Which samples are kept, by which of `ted_core.signals`.
    reduction : Reduction, default ``Polyak(0.9)`` or the strategy's or signal's own
        How the values over the epochs become a score (Eq. 19).
    seed : int, default 0
        Seed of order, random selections and ties, in [0, 2^64).
    multiple_of : int, default 1
        Kept counts are rounded up to a multiple of this, never above `n`.
    scale_loss : bool, default True
        Whether the plan's `loss_scale` is 1 / r_t (Eq. 23) or 1.
    labels : array_like of int, shape (n,), optional
        Class of each sample, for class floors.
    initial_scores : array_like of float, shape (n,), or what holds them, optional
        Finite scores to start from, so that the first epoch can prune: an array, a
        :class:`~ted_core.SampleTable`, the state of an earlier run or of a proxy's, or
        a file of these: ``.npy``, ``.csv``, a saved state, a checkpoint's folder.
    lengths : array_like of int, shape (n,), optional
        Length of each sample, in [0, 2^31), as tokens of a text. An epoch's samples
        then come in batches of `multiple_of` of like lengths, the longest first, and
        savings and report count tokens, too; 4 bytes a sample more.
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
    >>> import ted_core
    >>> pruner = ted_core.Pruner(100, epochs=10, prune_ratio=0.7)
    >>> while not pruner.finished:
    ...     plan = pruner.plan()
    ...     pruner.observe(plan.order, plan.order % 7)
    ...     pruner.advance()
    >>> round(pruner.savings().ratio, 2)
    0.49
    """

    def __init__(self, n: int, *, epochs: int, **options: Unpack[RunOptions]) -> None:
        scores = options.get("initial_scores")
        run = self.config = make_config(n, epochs, **options)
        self.n, self.epochs = run.n, run.epochs
        if scores is None and run.strategy.uses_scores:
            check_epochs(run.epochs)  # a single one has nothing to go by
        self._table = ScoreTable(
            n,
            reduction=run.reduction,
            initial_scores=None if scores is None else read_scores(scores, n),
            counts_planned=getattr(run.strategy, "needs_planned_counts", False),
        )
        tokens = () if run.lengths is None else TOKENS
        names = (*HISTORY, *tokens, "keep_ratio")
        self._history: Rows = {name: [] for name in names}
        self._epoch, self._stopped = 0, False
        self._imbalance = 0.0  # of the plan that closed last
        self._warned_of_single = self._warned_of_nonfinite = False
        self._plan: EpochPlan | None = None

    def __repr__(self) -> str:
        """Return how far the run is, in a line; nothing is planned for it."""
        config, kept = self.config, f"{self.n} samples"
        if self.finished:
            kept = f"finished, {kept}"
        elif self._plan is not None:
            kept = f"keeps {self._plan.order.size} of {kept}"
        elif config.known_count:
            kept = f"keeps {config.kept_counts[self._epoch]} of {kept}"
        return (
            f"Pruner(epoch={self._epoch} of {self.epochs}, {kept}, "
            f"method={config.method!r}, saved={self.savings().ratio:.1%})"
        )

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

    def observe(
        self, ids: ArrayLike, values: ArrayLike, *, valid: ArrayLike | None = None
    ) -> None:
        """Take the values of one step of the current epoch, or of many: O(m).

        Parameters
        ----------
        ids : array_like of int, shape (m,)
            Sample ids in [0, n); any array, on any device.
        values : array_like of float, shape (m,)
            Unscaled values of the signal; one that is not finite, or masked in a NumPy
            masked array, is dropped.
        valid : array_like of bool, shape (m,), optional
            False for a sample that came with weight 0: it has no value, and ranks last
            until it has one.

        Raises
        ------
        ValueError, TypeError, EpochError
            An id is out of range, shapes or dtypes do not fit, a sample comes more than
            255 times in the epoch, or the run has finished.
        """
        self._check_open("observe")
        self._table.buffer.observe(ids, values, valid=valid)

    def observe_sums(
        self,
        sums: ArrayLike,
        counts: ArrayLike,
        *,
        deliveries: ArrayLike | None = None,
        weightless: ArrayLike | None = None,
    ) -> None:
        """Take a whole buffer: the sum of values and the counts of each sample: O(n).

        Parameters
        ----------
        sums : array_like of float, shape (n,)
            Sum of the values of each sample; 0 where it has none.
        counts : array_like of int, shape (n,)
            How many values each has, in [0, 255]; those not finite among them.
        deliveries : array_like of int, shape (n,), optional
            How often the loss received each sample, in [0, 255], with a value or
            without; `counts` by default.
        weightless : array_like of int, shape (n,), optional
            How often it was received with weight 0, in [0, 255]; 0 by default.

        Raises
        ------
        ValueError, TypeError, EpochError
            The shapes or dtypes do not fit, a count is out of range, or a sample comes
            more than 255 times in the epoch; nothing of the call is taken then.
        """
        self._check_open("observe_sums")
        self._table.buffer.observe_sums(
            sums, counts, deliveries=deliveries, weightless=weightless
        )

    def _check_open(self, name: str) -> None:
        if self.finished:
            msg = (
                f"`{name}` needs an open epoch, got a run finished at {self._epoch}; a "
                'saved state goes on in a run of more epochs, with `allow=("epochs",)`'
            )
            raise EpochError(msg)

    def advance(
        self, *, forwarded: int | None = None, max_missing: int | None = None
    ) -> None:
        """Close the current epoch: update the scores, go to the next.

        Parameters
        ----------
        forwarded : int, optional
            Samples of the plan that all processes forwarded, each once a pass; counted
            from what was observed by default, which is right for one process.
        max_missing : int, optional
            Planned samples that may be missing without a warning: those of an
            incomplete batch, of all processes. Any number by default.

        Raises
        ------
        EpochError
            The run has finished, or no sample has a finite value and the strategy needs
            values; the state is unchanged then.
        ValueError, TypeError
            A count is no integer, or below 0.

        Warns
        -----
        TedWarning
            More samples are missing than `max_missing`, or samples that never had a
            value were planned twice and not delivered: they rank first no more. Once a
            run: more than a tenth of an epoch's values, and more than ten, are not
            finite.
        """
        self._check_open("advance")
        _check_counts(forwarded=forwarded, max_missing=max_missing)
        known = self._check_received(self.config.layout.sums)
        _warn(self._close(forwarded, max_missing, known=known))

    def finish(
        self, *, forwarded: int | None = None, max_missing: int | None = None
    ) -> None:
        """Close the last epoch, or an early stop; harmless when repeated.

        Parameters
        ----------
        forwarded, max_missing : int, optional
            See :meth:`advance`.

        Raises
        ------
        EpochError
            No observed value of the open epoch is finite.
        ValueError, TypeError
            A count is no integer, or below 0.

        Warns
        -----
        TedWarning
            The run ends before its last epoch; and see :meth:`advance`.
        """
        if self.finished:
            return
        _check_counts(forwarded=forwarded, max_missing=max_missing)
        missing = ""
        if self._table.observed:
            if self.config.layout.shares_order:  # else another process may have one
                self._check_received(list)
            missing = self._close(forwarded, max_missing, known=True)
        self._stopped = True
        _warn(missing)
        if self._epoch < self.epochs:
            remedy = "give `epochs` the number that the training has"
            _warn(early_end_warning(self.config, self._epoch, remedy))

    def _check_received(self, sum_over: Callable[[Sequence[int]], list[int]]) -> bool:
        """Refuse an epoch without a finite value; else, say if deliveries are known."""
        waits = self._table.waits_for(self.plan().order)
        *counts, others = sum_over([*self._table.received(), int(not waits)])
        received = Received(*counts)
        if not others:
            return True  # they never came, and rank first no more
        if self.config.strategy.uses_scores or received.nonfinite:
            received.check(f" in epoch {self._epoch}")
        return received.samples > 0

    def _close(
        self, forwarded: int | None, max_missing: int | None, *, known: bool
    ) -> str:
        """Close the epoch; return what to say of missing samples."""
        plan, expected = self.plan(), None
        if plan.visited > plan.order.size:
            # This process repeats samples of its shard to keep in step.
            repeated = repeat_order(plan.order, plan.visited, self.n)
            expected = times_in(repeated, self.n)
        accounts = EpochAccounts(plan.order, self._table.deliveries, expected=expected)
        # Where nothing was observed at all, nothing is known of who was delivered.
        closed = self._table.close(plan.order if known else None)
        self._table.count_planned(plan.order)
        row: dict[str, float] = {
            "planned": accounts.planned,
            "observed": accounts.observed,
            "distinct": accounts.distinct,
            "forwarded": accounts.forwarded if forwarded is None else forwarded,
            "weightless": closed.weightless,
            "nonfinite": closed.nonfinite,
            "missing": accounts.missing,
            "keep_ratio": plan.keep_ratio,
        }
        if self.config.lengths is not None:
            row |= accounts.tokens(self.config.lengths)
        for name, count in row.items():
            self._history[name].append(count)
        self._imbalance = plan.imbalance
        self._plan, self._epoch = None, self._epoch + 1
        self._warn_of_nonfinite(closed.nonfinite, accounts.distinct)
        if closed.given_up and self.config.strategy.uses_scores:
            _warn(
                f"planned samples must be delivered, got {closed.given_up} that were "
                "not in two epochs and rank at the median from now on: items filtered "
                "out, or a last batch dropped twice by chance; see "
                "`report().undelivered_ids`"
            )
        if max_missing is None:
            return ""
        return accounts.missing_warning(plan.epoch, max_missing)

    def total_steps(self, batch_size: int, **options: Unpack[StepOptions]) -> int:
        """Count the optimizer steps of the run: what ran, and what is to come.

        Parameters
        ----------
        batch_size : int
            Samples of one batch on one process.
        **options : int, int and bool
            ``accumulation``, ``world_size``, ``drop_last`` of
            :func:`ted_core.steps_for`.

        Returns
        -------
        int
            Optimizer steps of all epochs; after :meth:`finish`, of those that ran.

        Raises
        ------
        ValueError, TypeError
            An argument is out of range, an epoch has no whole batch for `drop_last`, or
            the counts depend on the scores, as over shards: :meth:`max_total_steps`
            gives the bound then.

        Warns
        -----
        TedWarning
            Once: the last batch of a pruned epoch has one sample.
        """
        check_known(self.config, "total_steps")
        steps = self.max_total_steps(batch_size, **options)
        if not self._warned_of_single:
            message = single_sample_warning(
                self.config, self._visited(), batch_size, first=self._epoch, **options
            )
            self._warned_of_single = bool(message)
            _warn(message)
        return steps

    def max_total_steps(self, batch_size: int, **options: Unpack[StepOptions]) -> int:
        """Bound the optimizer steps: :meth:`total_steps`, or those of full data."""
        first = self._epoch
        visited = self._visited()
        return steps_of(self.config, visited, batch_size, first=first, **options)

    def _ratios(self) -> Floats:
        """Return the keep ratios of the closed epochs and of those to come."""
        left = () if self.finished else self.config.keep_ratios[self._epoch :]
        return np.array([*self._history["keep_ratio"], *left], np.float64)

    def _visited(self) -> NDArray[np.int64]:
        """Return how many samples each epoch had, and will have at most."""
        visited = max_visited(self.config, self._ratios())
        if self.config.layout.shares_order:
            visited[: self._epoch] = self._history["planned"]
        return visited

    def schedule_table(self) -> NDArray[np.void]:
        """Return the counts of the closed epochs and of those to come.

        Returns
        -------
        structured ndarray, shape (epochs,)
            Fields ``epoch``, ``keep_ratio`` (nominal r_t), ``kept`` (samples),
            ``keep_fraction`` (kept / n) and ``loss_scale``; after :meth:`finish` of
            the epochs that ran.

        Raises
        ------
        ValueError
            The counts depend on the scores.
        """
        check_known(self.config, "schedule_table")
        ratios = self._ratios()
        kept = self.config.kept_counts[: ratios.size].copy()
        kept[: self._epoch] = self._history["planned"]
        return table_of(self.config, ratios, kept)

    def savings(self) -> Savings:
        """Return the samples saved in the closed epochs, counted (Eq. 24)."""
        counts = (self._history[name] for name in ("planned", "missing", "forwarded"))
        savings = savings_of(self.n, *counts)
        if self.config.lengths is None:
            return savings
        planned, forwarded = (np.array(self._history[name]) for name in TOKENS)
        tokens = savings_of(self.config.tokens, planned, planned - forwarded, forwarded)
        return replace(savings, tokens=tokens)

    def _warn_of_nonfinite(self, dropped: int, delivered: int) -> None:
        """Warn once of an epoch that dropped more than the odd value."""
        many = dropped > max(_FEW_DROPPED, _SHARE_DROPPED * delivered)
        if many and not self._warned_of_nonfinite:
            self._warned_of_nonfinite = True
            _warn(
                f"values must be finite, got {dropped} of {delivered} in epoch "
                f"{self._epoch - 1} that are not and were dropped: their samples are "
                "ranked by older values, or at the median; look for a loss of "
                "probabilities that gets logits, for NaN in the data, and for steps "
                "that overflow"
            )

    @property
    def _last_kept(self) -> float:
        """Share of the samples that the epoch kept which closed last; 0 before any."""
        planned = self._history["planned"]
        return planned[-1] / self.n if planned else 0.0

    @property
    def nonfinite_dropped(self) -> int:
        """Values not finite, and dropped, in the closed epochs."""
        return int(sum(self._history["nonfinite"]))

    def report(self) -> Report:
        """Return the counts of the closed epochs and the ids to look at."""
        names = counts_of(self.config)
        counts = {name: np.array(self._history[name], np.int64) for name in names}
        return Report(
            keep_ratio=counts["planned"] / self.n,
            savings=self.savings(),
            **counts,
            **self._table.repeated_ids(),
        )

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
            ``"epochs"`` extends or shortens a run on purpose, between two epochs and
            not below those that ran; one that has finished goes on.

        Raises
        ------
        CheckpointError
            A field differs or is damaged, or an open epoch's order is not reproduced.
        """
        run = read_state(state, self.config, self._table, allow=allow)
        self._table.take_over(run.table)
        self._history, self._plan = run.history, run.plan
        self._epoch, self._stopped = run.epoch, run.stopped


def _warn(message: str) -> None:
    """Warn of what there is to say, if anything."""
    if message:
        warn_caller(message)


def _check_counts(**counts: int | None) -> None:
    """Refuse counts that an epoch can't be closed with."""
    for name, value in counts.items():
        if value is not None:
            check_int(name, value, minimum=0, maximum=MAX_SAMPLES)
