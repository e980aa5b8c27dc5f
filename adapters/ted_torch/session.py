"""The session: three lines in a training loop of one's own."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Generic, TypeVar, Unpack, overload

import torch
from torch import Tensor
from torch.utils.data import Dataset

from ted_core import CheckpointError, Pruner, Report, Savings
from ted_core._validation import check_choice, check_int
from ted_core.config import RunOptions, check_options
from ted_core.errors import warn_caller
from ted_core.reports import Preflight
from ted_core.schedules import StepOptions
from ted_torch import _closing, _state
from ted_torch._check import check_run
from ted_torch._step import SignalInputs, StepRecorder
from ted_torch._validation import Ids
from ted_torch.buffer import EpochBuffer
from ted_torch.data import CollateWithIds, TEDSampler, WithIds, fingerprint_of
from ted_torch.ranks import check_equal_across_ranks, check_made_in_time, find_ranks

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
    ids : str, int or sequence of them, optional
        Where in an item its id goes, for a framework that takes no pairs: a key, a
        position, or the way to one, such as ``(1, "id")``; see `WithIds`.
    fingerprint : int or str, optional
        Identifies these samples in this order; by default the CRC-32 of the indices of
        a ``Subset``, as ``random_split`` makes them. Saved states and the other
        processes must have the same.
    **options : RunOptions
        All of :class:`ted_core.Pruner`: `prune_ratio`, `schedule`, `method`,
        `strategy`, `signal`, `reduction`, `seed`, `multiple_of`, `scale_loss`,
        `labels`, `lengths`, `initial_scores`, `shard`.

    Attributes
    ----------
    dataset : WithIds
        Hands out ``(id, item)``, or items with their `ids`; give it to the loader.
    sampler : TEDSampler
        Visits the current epoch's kept ids; give it to the loader.
    collate : type of CollateWithIds
        ``ted.collate(fn)`` makes a collate function of one's own pass the ids on;
        without need where items have their `ids`.
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
    Source: TED, ECAI 2024, Algorithm 1.

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
    ...         ted.loss(losses, ids=ids, logits=z, labels=y).backward()
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
        ids: str | int | Sequence[str | int] | None = None,
        fingerprint: int | str | None = None,
        **options: Unpack[RunOptions],
    ) -> None:
        check_options(options, type(self))
        check_choice("buffer", buffer, ("device", "cpu"))
        self.dataset = WithIds(dataset, ids=ids)
        self._fingerprint = fingerprint_of(dataset, fingerprint)
        self.pruner = Pruner(len(self.dataset), epochs=epochs, **options)
        # Batches of a step, and whether a trainer calls the loss.
        self._accumulation, self._hosted = 1, False
        self.ranks = find_ranks(num_replicas, rank, group, shard=options.get("shard"))
        self.sampler = TEDSampler(self.pruner, ranks=self.ranks)
        self._device = torch.device(device)
        gathers_on = "cpu" if buffer == "cpu" else self._device
        recorded = EpochBuffer(self.pruner.n, device=gathers_on)
        self._recorder = StepRecorder(self.sampler, self._device, recorded)
        # Whether the processes agree on the run, and whether a state was loaded.
        self._agreed = self._loaded = False

    def __repr__(self) -> str:
        """Return how far the run is, in a line; no process waits for another."""
        return repr(self.pruner).replace("Pruner", type(self).__name__, 1)

    @property
    def epoch(self) -> int:
        """Current epoch, in [0, epochs]: where a resumed loop starts."""
        return self.pruner.epoch

    def set_epoch(self, epoch: int) -> None:
        """Begin an epoch, closing the one before; repeated calls are harmless.

        A data set with ``set_epoch`` gets its number, too.

        Parameters
        ----------
        epoch : int
            The current epoch or the next, below `epochs`.

        Raises
        ------
        TypeError, ValueError
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
        epochs = self.pruner.epochs
        last = max(here, min(here + 1, epochs - 1))
        remedy = "a resumed run goes on at `ted.epoch`"
        if here == last:
            remedy = f"the run has `epochs`={epochs}: make it as long as the loop"
        epoch = check_int("epoch", epoch, minimum=here, maximum=last, remedy=remedy)
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
            _closing.close_epoch(self._recorder)
        if not self._agreed:
            facts = _state.run_facts(
                self.sampler, epoch=epoch, fingerprint=self._fingerprint
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
        """
        recorder = self._recorder
        if not self.pruner.finished and (recorder.begun or recorder.received()):
            _closing.close_epoch(recorder)

    def finish(self, *, partial: bool = False) -> None:
        """Close the last epoch, or an early stop; harmless when repeated.

        Parameters
        ----------
        partial : bool, default False
            Whether the open epoch was cut short on purpose, as by a number of steps:
            its missing samples are no reason to warn.

        Raises
        ------
        EpochError
            The open epoch was trained without recorded values.

        Warns
        -----
        TedWarning
            The run ends before its last epoch, or see :meth:`set_epoch`.
        """
        if not self.pruner.finished:
            # Processes take part together, also one that has received nothing.
            together = self._agreed and self.ranks.world_size > 1
            _closing.finish(self._recorder, together=together, partial=partial)

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
            Where the mask stands, if not at the `logits`; left out after :meth:`mask`,
            for another `signal`, and for strategies that rank nothing.
        weights : Tensor of float, shape (B,), optional
            Weights of the samples; a weight of 0 is no observation.
        valid : Tensor of bool, shape (B, ...), optional
            Which losses count: False at padding and ignored tokens.
        **inputs : SignalInputs
            `logits`, where the mask stands unless `mask` says otherwise, and `labels`
            serve every method; `hidden` and `bias` are for signals made of them.

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
        self,
        loader: Iterable[Any],
        *,
        optimizer: Any = None,
        scheduler: Any = None,
        accumulation: int | None = None,
    ) -> Preflight:
        """Look for what would go wrong, before the first step.

        Parameters
        ----------
        loader : torch.utils.data.DataLoader
            The loader to train with; one batch is drawn. The sampler and the random
            states are then as they were.
        optimizer, scheduler : torch.optim.Optimizer and LRScheduler, optional
            Those of the loop.
        accumulation : int, optional
            Batches of a step of the optimizer: 1 by default, and the framework's in a
            session of Accelerate or a trainer.

        Returns
        -------
        Preflight
            What was found, each problem a `TedWarning`, too; printed, it is a report.

        Raises
        ------
        ValueError
            What can't work: a loader with another sampler, batches without the ids, an
            epoch without a batch.
        EpochError
            The session was made before ``init_process_group``.

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
        check_made_in_time(self.ranks)
        if accumulation is None:
            accumulation = self._accumulation
        return check_run(
            self.sampler,
            loader,
            self.dataset.id_path,
            optimizer=optimizer,
            scheduler=scheduler,
            accumulation=accumulation,
            hosted=self._hosted,
        )

    def total_steps(self, batch_size: int, **options: Unpack[StepOptions]) -> int:
        """Count the run's optimizer steps; see `Pruner.total_steps`."""
        processes = max(self.ranks.world_size, self.ranks.num_replicas)
        options.setdefault("world_size", processes)
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
            Whether every process saves its own; without it an open epoch, of which
            other processes have recorded a part, warns.

        Returns
        -------
        dict of str to Tensor, str, int, float or bool
            To be given to :meth:`load_state_dict`; on the CPU, copied.
        """
        plain: dict[str, int | str] = {"position": 0}
        if self._fingerprint is not None:
            plain["fingerprint"] = self._fingerprint
        if not self.pruner.finished:
            plain["position"] = self._recorder.position()
            several = self.ranks.world_size > 1 and self.pruner.config.shard is None
            if several and not every_process and self._recorder.received():
                warn_caller(
                    f"the state of open epoch {self.epoch} should be saved on each of "
                    f"the {self.ranks.world_size} processes, for it holds the values "
                    "of this one alone: say `state_dict(every_process=True)` there, or "
                    "call `ted.close_epoch()` on all of them before one saves"
                )
        return _state.write_session(self.sampler, self._recorder.buffer, plain)

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
        saved = _state.read_session(state, self.sampler, self._fingerprint)
        before = self.pruner.state_dict()
        self.pruner.load_state_dict(saved.pruner, allow=allow)
        try:
            _state.check_loaded(state, saved, self.pruner)
        except CheckpointError:
            self.pruner.load_state_dict(before)
            raise
        self._recorder.load(saved.tensors(self.pruner), saved.plain["position"])
        self._agreed, self._loaded = False, True
