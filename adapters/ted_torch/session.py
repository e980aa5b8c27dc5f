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
from ted_core.history import EpochAccounts
from ted_core.reports import Preflight
from ted_core.schedules.counts import StepOptions
from ted_torch._check import check_run
from ted_torch._mask_diagnostics import warn_of
from ted_torch._state import (
    check_fingerprint,
    check_order,
    check_whole,
    read_session,
    write_session,
)
from ted_torch._step import SignalInputs, StepRecorder
from ted_torch._validation import Ids
from ted_torch.buffer import EpochBuffer
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
        Where values gather, 5 bytes a sample; for the CPU, steps wait now and then.
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
            The epoch to close recorded nothing, or got ids out of range; or the
            run has finished.
        """
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
            self._observe()
            self.pruner.advance()
            self._clear()
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

    def finish(self) -> None:
        """Close the last epoch, or an early stop; harmless when repeated.

        Raises
        ------
        EpochError
            The open epoch was trained without recorded values.
        """
        if self.pruner.finished:
            return
        # Processes take part together, also one that has received nothing.
        together = self._agreed and self.ranks.world_size > 1
        if self._recorder.received() or together:
            self._observe(optional=True)
        self.pruner.finish()
        self._clear()

    def _observe(self, *, optional: bool = False) -> None:
        """Give the pruner what all processes have recorded of the open epoch."""
        self._recorder.flush()
        epoch, shard = self.pruner.epoch, self.pruner.config.shard
        sums, counts = self._buffer.read(
            epoch, ranks=self.ranks, optional=optional, shard=shard
        )
        warn_of(self._recorder.symptoms, epoch)
        accounts = EpochAccounts(self.pruner.plan().order, counts)
        # What is mixed into a batch may come from anywhere.
        mixed = self._buffer.shares is not None
        unexpected = 0 if mixed else accounts.unexpected
        unexpected = self.pruner.config.layout.sum(unexpected)
        if unexpected:
            msg = (
                f"an epoch must visit its kept samples alone, got {unexpected} others "
                f"in epoch {epoch}; give the loader `sampler=ted.sampler`"
            )
            raise EpochError(msg)
        # A loader that drops its last batch leaves out less than a batch.
        batch = self._recorder.last_size * self.ranks.num_replicas
        if self.sampler.start and not optional and accounts.missing >= max(batch, 1):
            msg = (
                f"a resumed epoch must visit the rest of its samples, got "
                f"{accounts.missing} left out in epoch {epoch}; if the loader has a "
                "state of its own, its batch sampler must have one too"
            )
            warnings.warn(msg, TedWarning, stacklevel=3)
        self.pruner.observe_sums(sums, counts)

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

    def state_dict(self) -> dict[str, Any]:
        """Return the whole state, an open epoch's included: tensors, plain values."""
        position = 0
        if not self.pruner.finished:
            received, found = self._recorder.received(), self._recorder.position()
            # Where no batch tells: as far as it went before, and what has come since.
            since = self.sampler.start + received - self._before
            position = since if found is None else found
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
            Fields that may differ on purpose: ``"epochs"``.

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
                check_order(plain["order"], self._order())
            check_whole(state)
        except CheckpointError:
            self.pruner.load_state_dict(before)
            raise
        self._recorder.clear()
        self._buffer.load(buffer)
        self._before = received
        self.sampler.restart(plain["position"])
        self._agreed = False

    def _order(self) -> int:
        """Return the checksum of the open epoch's order; 0 if it is not known yet."""
        made_together = self.pruner.config.shard is not None
        if self.pruner.finished or (made_together and not self.pruner.planned):
            return 0
        return self.pruner.plan().checksum
