"""TED in loops of Hugging Face's Accelerate; needs the extra ``accelerate``."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Unpack

import numpy as np
from accelerate import Accelerator
from torch.utils.data import Dataset

from ted_core._validation import check_int, check_kind
from ted_core.config import RunOptions
from ted_core.schedules import StepOptions
from ted_torch._state import check_saved, gather_state, is_open, own_state
from ted_torch._validation import check_even_batches, check_no_shard
from ted_torch.session import TED

__all__ = ["AcceleratedTED"]


class AcceleratedTED(TED[Any]):
    r"""A session whose batches Accelerate deals out, and whose state it saves.

    Parameters
    ----------
    accelerator : accelerate.Accelerator
        The run's.
    dataset, epochs : torch.utils.data.Dataset, int
        Map-style data set, and T, epochs of the run, at least 2.
    batch_size : int
        The loader's.
    buffer : {"device", "cpu"}, default "device"
        Where values gather.
    group : torch.distributed.ProcessGroup, optional
        Processes whose scores are merged; None is the default group.
    ids : str, int or sequence of them, optional
        Where in an item its id goes; by default beside. See :class:`ted_torch.TED`.
    allow : sequence of str, default ()
        ``("epochs",)`` lets ``accelerator.load_state`` take the state of a run with
        another number of epochs, finished or between two of them; the run goes on to
        this number.
    **options : RunOptions
        All of :class:`ted_core.Pruner`; `multiple_of` is by default the samples of
        one optimizer step, so that every pruned epoch is made of whole steps.

    Raises
    ------
    TypeError, ValueError
        An argument does not fit, by name.

    Notes
    -----
    Give it to ``accelerator.register_for_checkpointing``: Accelerate asks every process
    for its state and writes the first one's, so that with several processes
    :meth:`state_dict` is a collective.

    Examples
    --------
    >>> import torch
    >>> from accelerate import Accelerator
    >>> from torch.utils.data import DataLoader, TensorDataset
    >>> from ted_torch.integrations.accelerate import AcceleratedTED
    >>> accelerator, data = Accelerator(cpu=True), TensorDataset(torch.randn(40, 5))
    >>> ted = AcceleratedTED(accelerator, data, epochs=5, batch_size=8)
    >>> loader = DataLoader(ted.dataset, batch_size=8, sampler=ted.sampler)
    >>> loader = accelerator.prepare(loader)
    >>> ted.set_epoch(0)
    >>> ids, (x,) = next(iter(loader))
    >>> bool((x == data.tensors[0][ids]).all())
    True
    """

    def __init__(
        self,
        accelerator: Accelerator,
        dataset: Dataset[Any] | Sequence[Any],
        *,
        epochs: int,
        batch_size: int,
        buffer: str = "device",
        group: Any = None,
        ids: str | int | Sequence[str | int] | None = None,
        allow: Sequence[str] = (),
        **options: Unpack[RunOptions],
    ) -> None:
        self._allow = tuple(allow)
        check_kind("accelerator", accelerator, Accelerator)
        if accelerator.use_stateful_dataloader:
            msg = (
                "`use_stateful_dataloader` must be False, got True; the session passes "
                "over what was trained on, and both would do so twice"
            )
            raise ValueError(msg)
        check_even_batches(accelerator, accelerator.num_processes)
        check_no_shard(options, "Accelerate")
        batch_size = check_int("batch_size", batch_size, minimum=1)
        # Processes share a split batch; otherwise each has a batch of its own.
        self._shares = 1 if accelerator.split_batches else accelerator.num_processes
        self._batch = batch_size * self._shares
        accumulation = accelerator.gradient_accumulation_steps
        options.setdefault("multiple_of", self._batch * accumulation)
        super().__init__(
            dataset,
            epochs=epochs,
            device=accelerator.device,
            buffer=buffer,
            num_replicas=1,
            rank=0,
            group=group,
            ids=ids,
            **options,
        )
        self._accumulation = accumulation

    def total_steps(self, batch_size: int, **options: Unpack[StepOptions]) -> int:
        """Count each process's optimizer steps; see `Pruner.total_steps`.

        `batch_size` is the loader's; `accumulation` and `world_size` are the
        accelerator's.
        """
        options.setdefault("accumulation", self._accumulation)
        # Whole batches go to the processes, also where some of the last are dropped.
        shares = options.pop("world_size", self._shares)
        return self.pruner.total_steps(batch_size * shares, **options)

    def scheduler_steps(self, *, drop_last: bool = False) -> int:
        """Count how often a prepared scheduler steps in the whole run.

        Parameters
        ----------
        drop_last : bool, default False
            Whether the loader drops an incomplete last batch.

        Returns
        -------
        int
            Optimizer steps, times the processes unless they split batches: Accelerate
            steps a scheduler once for each process. A bound for strategies that find
            their own counts.
        """
        steps = self.pruner.max_total_steps(
            self._batch, accumulation=self._accumulation, drop_last=drop_last
        )
        return steps * self._shares

    def state_dict(self, *, every_process: bool = True) -> dict[str, Any]:
        """Return the states of all processes; every process must ask for it."""
        del every_process
        own = super().state_dict(every_process=True)
        return gather_state(own, self.ranks, device=self._device)

    def load_state_dict(
        self, state: Mapping[str, Any], *, allow: Sequence[str] = ()
    ) -> None:
        """Take over a saved state, on every process; see `TED.load_state_dict`.

        Of an open epoch it must be saved by as many processes. Go on with
        ``set_epoch(ted.epoch)`` and the loader as it is: the sampler passes over what
        was trained on, and ``skip_first_batches`` would do so again. Fields in `allow`
        are beside those that the session was made with.
        """
        allow = (*self._allow, *allow)
        if not isinstance(state, Mapping):
            super().load_state_dict(state, allow=allow)
            return
        parts = state.get("ranks", [state])
        # Files without parts hold the sum of all processes, and their number.
        saved = len(parts) if "ranks" in state else state.get("world_size")
        if any(map(is_open, parts)):
            remedy = "; save after `set_epoch` of the next epoch"
            when, here = " while an epoch is open", self.ranks.world_size
            check_saved("world_size", saved, here, when=when, remedy=remedy)
        super().load_state_dict(own_state(state, self.ranks), allow=allow)
        if self.ranks.world_size > 1 and not self.pruner.finished:
            self.sampler.start = self._position_of(parts)

    def _position_of(self, parts: Sequence[Mapping[str, Any]]) -> int:
        """Return how many ids of the order all processes together have passed."""
        order = self.pruner.plan().order
        # Older states have no deliveries.
        names = ("buffer.deliveries", "buffer.counts")
        counts = [
            next(part[name] for name in names if name in part).numpy() for part in parts
        ]
        if np.any(counts, axis=0)[order].all():
            return order.size
        # They go in step: all are where the last of them is, at the end of a step.
        furthest: int = max(part["position"] for part in parts)
        return min(-(-furthest // self._batch) * self._batch, order.size)
