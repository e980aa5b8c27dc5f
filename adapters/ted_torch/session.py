"""The session: three lines in a training loop of one's own."""

from __future__ import annotations

import warnings
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Generic, TypeVar, Unpack, overload

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import Dataset

from ted_core import CheckpointError, EpochError, Pruner, Report, Savings, TedWarning
from ted_core.config import RunOptions
from ted_core.history import EpochAccounts, times_in
from ted_core.reports import Preflight
from ted_core.schedules.counts import StepOptions
from ted_torch._check import check_run
from ted_torch._mask_diagnostics import warn_of
from ted_torch._state import (
    check_fingerprint,
    check_order,
    check_whole,
    read_session,
    with_deliveries,
    write_session,
)
from ted_torch._step import SignalInputs, StepRecorder
from ted_torch._validation import Ids
from ted_torch.buffer import EpochBuffer, Facts, Recorded, collect
from ted_torch.data import CollateWithIds, TEDSampler, WithIds, fingerprint_of
from ted_torch.ranks import (
    check_equal_across_ranks,
    check_made_in_time,
    find_ranks,
    run_facts,
)

__all__ = ["TED"]

Item = TypeVar("Item")


class TED(Generic[Item]):
    r"""Prune a training run: which samples, the scaled loss, and their scores.

    Parameters
    ----------
    dataset, epochs : torch.utils.data.Dataset, int
        Map-style data set, and T, epochs of the run, at least 2.
    device : torch.device or str, default "cpu"
        Where losses and masks live.
    buffer : {"device", "cpu"}, default "device"
        Where values gather, 7 bytes a sample; for the CPU, steps wait now and then.
    num_replicas, rank : int, optional
        Processes that share the order and this one among them; by default those of
        `group`; 1 and 0 where the framework deals out the batches.
    group : torch.distributed.ProcessGroup, optional
        Processes whose scores are merged; None is the default group, if there is one.
    fingerprint : int or str, optional
        What tells these samples, in this order, from others; by default the CRC-32 of
        the indices of a ``Subset``, as ``random_split`` makes them. Saved states and
        the other processes must have the same.
    **options : RunOptions
        All of :class:`ted_core.Pruner`: `prune_ratio`, `shard`, `strategy`, ...

    Attributes
    ----------
    dataset : WithIds
        Hands out ``(id, item)``; give it to the loader.
    sampler : TEDSampler
        Visits the current epoch's kept ids; give it to the loader.
    collate : type of CollateWithIds
        ``ted.collate(fn)`` makes a collate function of one's own pass the ids on.
    pruner : Pruner
        Plans, scores, savings and report of the run.
    ranks : Ranks
        The processes.

    Raises
    ------
    TypeError, ValueError
        The data set has no ids or no samples, or an option is out of range.

    Notes
    -----
    A step adds one pass over the mask, an epoch one collective of several processes.

    References
    ----------
    J. Xiao, P. Li, J. Nie, TED: Accelerate Model Training by Internal
    Generalization, ECAI 2024, Algorithm 1.

    Examples
    --------
    >>> import torch
    >>> from torch.utils.data import DataLoader, TensorDataset
    >>> from ted_torch import TED
    >>> data = TensorDataset(torch.randn(40, 5), torch.arange(40) % 3)
    >>> net = torch.nn.Linear(5, 3)
    >>> ted = TED(data, epochs=5, prune_ratio=0.5)
    >>> loader = DataLoader(ted.dataset, batch_size=8, sampler=ted.sampler)
    >>> for epoch in range(5):
    ...     ted.set_epoch(epoch)
    ...     for ids, (x, y) in loader:
    ...         z = net(x)
    ...         losses = torch.nn.functional.cross_entropy(z, y, reduction="none")
    ...         ted.loss(losses, mask=z, ids=ids).backward()
    >>> ted.finish()
    >>> ted.savings().forwarded < 5 * 40
    True
    """

    collate = CollateWithIds

    def __init__(
        self,
        dataset: Dataset[Item] | Sequence[Item],
        *,
        epochs: int,
        device: torch.device | str = "cpu",
        buffer: str = "device",
        num_replicas: int | None = None,
        rank: int | None = None,
        group: Any = None,
        fingerprint: int | str | None = None,
        **options: Unpack[RunOptions],
    ) -> None:
        if not isinstance(buffer, str) or buffer not in {"device", "cpu"}:
            msg = f"`buffer` must be 'device' or 'cpu', got {buffer!r}"
            raise ValueError(msg)
        if isinstance(fingerprint, bool) or not isinstance(
            fingerprint, int | str | None
        ):
            found = type(fingerprint).__name__
            msg = f"`fingerprint` must be an int or a str, got {found}"
            raise TypeError(msg)
        self.dataset = WithIds(dataset)
        self._fingerprint = (
            fingerprint_of(dataset) if fingerprint is None else fingerprint
        )
        self.pruner = Pruner(len(self.dataset), epochs=epochs, **options)
        self.ranks = find_ranks(num_replicas, rank, group, shard=options.get("shard"))
        self.sampler = TEDSampler(self.pruner, ranks=self.ranks)
        self._device = torch.device(device)
        self._buffer = EpochBuffer(
            self.pruner.n, device="cpu" if buffer == "cpu" else self._device
        )
        self._recorder = StepRecorder(
            self.pruner.config, self.sampler, self._device, self._buffer
        )
        # Whether the processes agree on the run, and what an epoch resumed in its
        # middle had received before.
        self._agreed, self._before = False, 0
        self._loaded = self._warned = False

    @property
    def epoch(self) -> int:
        """Current epoch, in [0, epochs]: where a resumed loop starts."""
        return self.pruner.epoch

    def set_epoch(self, epoch: int) -> None:
        """Begin an epoch, closing the one before; repeated calls are harmless.

        A data set with ``set_epoch`` is told as well.

        Parameters
        ----------
        epoch : int
            The current epoch or the next, below `epochs`.

        Raises
        ------
        ValueError
            `epoch` is neither.
        EpochError
            The epoch to close recorded nothing, or got ids out of range or that it does
            not keep; or the run has finished.

        Warns
        -----
        TedWarning
            The epoch to close left out more than an incomplete batch, went through its
            samples again, or its loader did not ask the sampler.
        """
        if self.pruner.finished:
            self.pruner.plan()  # says so, and how to go on
        here, size = self.pruner.epoch, len(self.dataset)
        known = isinstance(epoch, int | np.integer) and not isinstance(epoch, bool)
        if not known or not here <= epoch <= min(here + 1, self.pruner.epochs - 1):
            msg = (
                f"`epoch` must be {here} or {here + 1}, below {self.pruner.epochs}, "
                f"got {epoch!r}; a resumed run goes on at `ted.epoch`"
            )
            raise ValueError(msg)
        if size != self.pruner.n:
            msg = (
                f"`dataset` must keep its {self.pruner.n} samples, got {size} in epoch "
                f"{epoch}"
            )
            raise ValueError(msg)
        check_made_in_time(self.ranks)
        if epoch > here:
            if not (self._recorder.begun or self._loaded or here):
                msg = (
                    f"`epoch` must begin at 0, got {epoch} before any step; epochs are "
                    "counted from 0"
                )
                raise ValueError(msg)
            self._close()
        if not self._agreed:
            facts = run_facts(
                self.pruner,
                self.ranks,
                epoch=epoch,
                position=self.sampler.start,
                fingerprint=self._fingerprint,
            )
            check_equal_across_ranks(facts, self.ranks, device=self._device)
            self._agreed = True
        self._recorder.begin(self.pruner.plan())
        self.dataset.set_epoch(epoch)

    def close_epoch(self) -> None:
        """Close the open epoch, before its end is saved; harmless when repeated.

        It does what ``set_epoch`` of the next epoch does first: what all processes have
        recorded becomes scores, and the state is alike on all of them. Every process
        must call it.

        Raises
        ------
        EpochError
            See :meth:`set_epoch`.

        Examples
        --------
        >>> import torch
        >>> from ted_torch import TED
        >>> ted, x = TED(range(4), epochs=5), torch.ones(4, 2, requires_grad=True)
        >>> ted.set_epoch(0)
        >>> ted.loss(x.exp().sum(1), mask=x, ids=torch.arange(4)).backward()
        >>> ted.close_epoch()
        >>> ted.epoch
        1
        """
        if self.pruner.finished:
            return
        if self._recorder.begun or self._recorder.received():
            self._close()

    def finish(self) -> None:
        """Close the last epoch, or an early stop; harmless when repeated.

        Raises
        ------
        EpochError
            The open epoch was trained without recorded values.

        Warns
        -----
        TedWarning
            The run ends before its last epoch, or see :meth:`set_epoch`.
        """
        if self.pruner.finished:
            return
        # Processes take part together, also one that has received nothing.
        together = self._agreed and self.ranks.world_size > 1
        counted: dict[str, Any] = {}
        if self._recorder.received() or together:
            counted = self._observe(optional=True)
        self.pruner.finish(**counted)
        self._clear()

    def _close(self) -> None:
        """Close the open epoch, go to the next."""
        counted = self._observe()
        try:
            self.pruner.advance(**counted)
        except EpochError:
            if counted:
                raise
            plan = self.pruner.plan()
            msg = (
                f"an epoch must get samples, got none of the {len(plan)} planned in "
                f"epoch {plan.epoch}: call `ted.loss` in every step of it, begin a "
                "resumed run at `ted.epoch`, and with `drop_last=True` give the loader "
                f"no batch above the {self.sampler.share} samples of this process"
            )
            raise EpochError(msg) from None
        self._clear()

    def _observe(self, *, optional: bool = False) -> dict[str, Any]:
        """Give the pruner what all processes have recorded of the open epoch.

        Return what it is to be closed with.
        """
        self._recorder.flush()
        pruner, recorder = self.pruner, self._recorder
        plan, shard = pruner.plan(), pruner.config.shard
        recorded, facts = collect(
            self._buffer,
            ranks=self.ranks,
            shard=shard,
            order=plan.order,
            expected=times_in(self.sampler.ids(), pruner.n),
            asked=recorder.asked,
        )
        if not (facts.samples or facts.wrong or facts.lost):
            return {}
        ranks_values = pruner.config.strategy.uses_scores
        facts.check(pruner.n, plan.epoch, needs_values=ranks_values)
        warn_of(recorder.symptoms, plan.epoch)
        self._check_sampler(facts, plan.epoch)
        pruner.observe_sums(**recorded)
        return {
            "forwarded": None if shard else facts.forwarded,
            "max_missing": self._max_missing(recorded, optional=optional),
        }

    def _check_sampler(self, facts: Facts, epoch: int) -> None:
        """Refuse samples that are not the plan's; warn of a sampler not followed."""
        sampler, recorder = self.sampler, self._recorder
        if facts.asked:
            remedy = "give the loader `sampler=ted.sampler`"
        elif sampler.asked:
            remedy = (
                "its loader read `ted.sampler` before `set_epoch`; one that keeps its "
                "iterator (timm's MultiEpochsDataLoader, Ultralytics' "
                "InfiniteDataLoader) can't follow: take a DataLoader with "
                "`persistent_workers=True`"
            )
        else:
            remedy = (
                "its loader does not ask `ted.sampler`: give it `sampler=ted.sampler`, "
                "and have a framework leave it there (Ray: "
                "`prepare_data_loader(..., add_dist_sampler=False)`)"
            )
        if facts.unexpected:
            msg = (
                "an epoch must visit its kept samples alone, got "
                f"{facts.unexpected} others in epoch {epoch}; {remedy}"
            )
            raise EpochError(msg)
        # A loop of one's own may go through the plan without the sampler.
        several = recorder.distinct > recorder.largest_batch()
        strays = several and (sampler.asked > 0 or recorder.position() is None)
        if not facts.asked and strays and not self._warned:
            self._warned = True
            msg = (
                "an epoch must follow `ted.sampler`, got another order, or one from "
                f"before, in epoch {epoch}: {remedy}"
            )
            warnings.warn(msg, TedWarning, stacklevel=5)
        if recorder.passes > 1 and recorder.distinct > len(sampler):
            msg = (
                f"epoch {epoch} must go once through its {len(sampler)} samples, got "
                f"{recorder.distinct} in {recorder.passes} passes; give a framework "
                "epochs of `len(loader)` steps, and leave `ted.loss` out of passes "
                "that are no epoch"
            )
            warnings.warn(msg, TedWarning, stacklevel=5)

    def _max_missing(self, recorded: Recorded, *, optional: bool) -> int | None:
        """Return the samples of an incomplete batch of all processes; None if unknown.

        An epoch resumed in its middle has a warning of its own.
        """
        ranks, batch = self.ranks, self._recorder.largest_batch()
        together = 1 if self.pruner.config.shard else ranks.world_size
        if not self.sampler.start:
            merged = batch and ranks.num_replicas <= ranks.world_size
            return batch * together if merged else None
        plan = self.pruner.plan()
        missing = EpochAccounts(plan.order, recorded["deliveries"]).missing
        if not optional and missing >= max(batch * together, 1):
            msg = (
                f"a resumed epoch must visit the rest of its samples, got {missing} "
                f"left out in epoch {plan.epoch}; if the loader has a state of its "
                "own, its batch sampler must have one too"
            )
            warnings.warn(msg, TedWarning, stacklevel=5)
        return None

    def _clear(self) -> None:
        """Begin with nothing recorded at the first position."""
        self._recorder.clear()
        self._before = 0
        self.sampler.restart()

    @overload
    def mask(self, hidden: Tensor, *, ids: Ids) -> Tensor: ...
    @overload
    def mask(self, hidden: Sequence[Tensor], *, ids: Ids) -> list[Tensor]: ...
    def mask(self, hidden: Any, *, ids: Ids) -> Any:
        """Put the mask on an inner tensor or the input, before the loss is there.

        Parameters
        ----------
        hidden : Tensor of float, shape (B, ...), or list of them
            Tensor of the forward pass; an input needs no gradient yet.
        ids : Tensor of int, shape (B,)
            Sample ids; give the very same object to :meth:`loss`.

        Returns
        -------
        Tensor of float, shape (B, ...), or list of them
            `hidden` with the same numbers: go on with what is returned. Under
            ``torch.no_grad`` it is `hidden`, and nothing is recorded.
        """
        return self._recorder.mask(hidden, ids)

    def loss(
        self,
        losses: Tensor,
        *,
        ids: Ids,
        mask: Tensor | Sequence[Tensor] | None = None,
        weights: Tensor | None = None,
        valid: Tensor | None = None,
        **inputs: Unpack[SignalInputs],
    ) -> Tensor:
        """Return the mean loss over r_t; its backward records the scores (Eq. 23).

        Parameters
        ----------
        losses : Tensor of float, shape (B, ...)
            Unreduced data losses; averaged to one a sample.
        ids : Tensor of int, shape (B,), or sequence of pairs (ids, weights)
            Sample ids; for a mixed batch (mixup, CutMix) one pair for each part, its
            value shared by weight. Ids on a device are checked when the epoch closes.
        mask : Tensor of float, shape (B, ...), or list of them, optional
            Where the mask stands, for example the logits; left out after :meth:`mask`,
            for another `signal`, and for strategies that rank nothing.
        weights : Tensor of float, shape (B,), optional
            Weights of the samples; a weight of 0 is no observation.
        valid : Tensor of bool, shape (B, ...), optional
            Which losses count: False at padding and ignored tokens.
        **inputs : SignalInputs
            `logits`, `labels`, `hidden`, `bias`: what another `signal` is made of.

        Returns
        -------
        Tensor of float, shape ()
            Total to call ``backward`` on; scale it or add to it as you like.

        Raises
        ------
        TypeError, ValueError
            An argument does not fit, has no graph, or an id is out of range.
        EpochError
            :meth:`set_epoch` was not called.
        """
        return self._recorder.loss(losses, ids, mask, weights, valid, inputs)

    def check(
        self, loader: Iterable[Any], *, optimizer: Any = None, scheduler: Any = None
    ) -> Preflight:
        """Look for what would go wrong, before the first step.

        Parameters
        ----------
        loader : torch.utils.data.DataLoader
            The loader to train with; one batch is drawn. The sampler and the random
            states are then as they were.
        optimizer, scheduler : torch.optim.Optimizer and LRScheduler, optional
            Those of the loop.

        Returns
        -------
        Preflight
            What was found; printed, it is a report.

        Raises
        ------
        ValueError
            What can't work: a loader with another sampler, batches without the ids, an
            epoch without a batch.
        EpochError
            The run has finished.

        Warns
        -----
        TedWarning
            What may not work, each problem once.

        Notes
        -----
        Call it before ``set_epoch``, and before a loader's own state is loaded; with
        Accelerate before ``prepare``.

        Examples
        --------
        >>> from torch.utils.data import DataLoader
        >>> from ted_torch import TED
        >>> ted = TED(range(96), epochs=5, multiple_of=32)
        >>> loader = DataLoader(ted.dataset, batch_size=32, sampler=ted.sampler)
        >>> ted.check(loader).problems
        ()
        """
        return check_run(self.sampler, loader, optimizer=optimizer, scheduler=scheduler)

    def total_steps(self, batch_size: int, **options: Unpack[StepOptions]) -> int:
        """Count the run's optimizer steps; see `Pruner.total_steps`."""
        ranks = max(self.ranks.world_size, self.ranks.num_replicas)
        options.setdefault("world_size", ranks)
        return self.pruner.total_steps(batch_size, **options)

    def savings(self) -> Savings:
        """Return the samples saved in the closed epochs, counted (Eq. 24)."""
        return self.pruner.savings()

    def report(self) -> Report:
        """Return the counts of the closed epochs and the ids to look at."""
        return self.pruner.report()

    def state_dict(self, *, every_process: bool = False) -> dict[str, Any]:
        """Return the whole state, an open epoch's included: tensors, plain values.

        Parameters
        ----------
        every_process : bool, default False
            Whether every process saves its own; without it an open epoch of several
            processes warns.

        Returns
        -------
        dict of str to Tensor, str, int, float or bool
            To be given to :meth:`load_state_dict`; on the CPU, copied.

        Warns
        -----
        TedWarning
            The epoch is open and other processes have recorded a part of it.
        """
        position = 0
        if not self.pruner.finished:
            received, found = self._recorder.received(), self._recorder.position()
            # Where no batch tells: as far as it went before, and what has come since.
            since = self.sampler.start + received - self._before
            position = since if found is None else found
            several = self.ranks.world_size > 1 and self.pruner.config.shard is None
            if received and several and not every_process:
                msg = (
                    f"the state of open epoch {self.epoch} should be saved on each of "
                    f"the {self.ranks.world_size} processes, for it holds the values "
                    "of this one alone: say `state_dict(every_process=True)` there, or "
                    "call `ted.close_epoch()` on all of them before one saves"
                )
                warnings.warn(msg, TedWarning, stacklevel=2)
        plain: dict[str, int | str] = {"order": self._order(), "position": position}
        if self._fingerprint is not None:
            plain["fingerprint"] = self._fingerprint
        return write_session(self.pruner.state_dict(), self._buffer, self.ranks, plain)

    def load_state_dict(
        self, state: Mapping[str, Any], *, allow: Sequence[str] = ()
    ) -> None:
        """Take over a saved state; on an error nothing has changed.

        Parameters
        ----------
        state : mapping
            What :meth:`state_dict` returned; in the middle of an epoch by this process.
        allow : sequence of str, default ()
            Fields that may differ on purpose: ``"epochs"``, of a state between epochs
            or after :meth:`finish`; the run goes on to the new number.

        Raises
        ------
        CheckpointError
            A field is missing, unknown, or does not fit: with both values.

        Notes
        -----
        Go on with ``set_epoch(ted.epoch)``: the sampler passes over the samples that
        `loss` had received, provided that they came in the sampler's order.
        """
        pruner, buffer, plain = read_session(state, self.pruner.config, self.ranks)
        check_fingerprint(state.get("fingerprint"), self._fingerprint)
        before, received = self.pruner.state_dict(), int(buffer["counters"][0])
        self.pruner.load_state_dict(pruner, allow=allow)
        try:
            if received:
                self._check_open(pruner, plain)
            check_whole(state)
        except CheckpointError:
            self.pruner.load_state_dict(before)
            raise
        if plain["version"] == 1:
            order = self.pruner.plan().order if received else np.empty(0, np.int64)
            buffer = with_deliveries(buffer, order)
        self._recorder.clear()
        self._buffer.load(buffer)
        self._before = int(buffer["counters"][0])
        self.sampler.restart(plain["position"])
        self._agreed, self._loaded = False, True

    def _check_open(self, pruner: Mapping[str, Any], plain: Mapping[str, int]) -> None:
        """Refuse an open epoch that this run can't go on with."""
        saved, here = pruner["epochs"], self.pruner.epochs
        if saved != here:
            msg = (
                f"`epochs` may change between two epochs only, saved {saved} with "
                f"epoch {self.epoch} open, here {here}; load the state into a run of "
                f"{saved}, call `ted.close_epoch()`, and save it again"
            )
            raise CheckpointError(msg)
        check_order(plain["order"], self._order())

    def _order(self) -> int:
        """Return the checksum of the open epoch's order; 0 if it is not known yet."""
        made_together = self.pruner.config.shard is not None
        if self.pruner.finished or (made_together and not self.pruner.planned):
            return 0
        return self.pruner.plan().checksum
