"""TED in loops of Hugging Face's Accelerate; needs the extra ``accelerate``."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Unpack

import torch
import torch.distributed as dist
from accelerate import Accelerator
from torch import Tensor
from torch.utils.data import Dataset

from ted_core import CheckpointError
from ted_core.config import RunOptions
from ted_torch._state import sealed
from ted_torch._validation import check_no_shard
from ted_torch.ranks import merge
from ted_torch.session import TED

__all__ = [
    "AcceleratedTED",
    "emptied",
    "is_open",
    "pool",
]

_BUFFER = "buffer."


def is_open(state: Mapping[str, Any]) -> bool:
    """Tell whether a session's state is of an epoch that has received samples.

    Parameters
    ----------
    state : mapping
        What ``TED.state_dict()`` returned.

    Returns
    -------
    bool
        False also for a state that lacks the field: the session refuses it.
    """
    meters = state.get(f"{_BUFFER}meters")
    return isinstance(meters, Tensor) and meters.numel() > 0 and bool(meters[0] > 0)


def emptied(state: Mapping[str, Any]) -> dict[str, Any]:
    """Return a state whose open epoch has recorded nothing yet.

    Parameters
    ----------
    state : mapping
        A pooled state, which the first rank takes as it is.

    Returns
    -------
    dict
        The same position in the same epoch.
    """
    return {
        name: torch.zeros_like(value)
        if name.startswith(_BUFFER) and isinstance(value, Tensor)
        else value
        for name, value in state.items()
    }


def pool(state: Mapping[str, Any], group: Any = None) -> dict[str, Tensor]:
    """Add up what the ranks of an open epoch have recorded.

    Parameters
    ----------
    state : mapping
        What ``TED.state_dict()`` returned on this rank.
    group : torch.distributed.ProcessGroup, optional
        Ranks that take part, all of them; None is the default group.

    Returns
    -------
    dict of str to Tensor
        The buffer's fields, on the CPU, alike on every rank.

    Notes
    -----
    One collective of 8 bytes a sample, two with mixed batches. A sample that one rank
    recorded keeps its bits.
    """
    sums, counts, meters = (
        state[f"{_BUFFER}{name}"] for name in ("sums", "counts", "meters")
    )
    shares = state.get(f"{_BUFFER}shares")
    mixed = torch.tensor([shares is not None], dtype=torch.int64)
    total, times, flat = merge(sums, counts, torch.cat([meters, mixed]), group=group)
    out = {
        "sums": total.cpu(),
        "counts": times.to("cpu", torch.int64).to(torch.uint8),
        "meters": flat[:-1].cpu(),
    }
    if int(flat[-1]):
        # What was recorded before the first mixed batch weighs 1.
        mine = counts.float() if shares is None else shares
        out["shares"] = merge(mine, counts, meters, group=group)[0].cpu()
    return {f"{_BUFFER}{name}": value for name, value in out.items()}


_WORLD = "world_size"


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
        Ranks whose scores are merged; None is the default group.
    **options : RunOptions
        All of :class:`ted_core.Pruner`; `multiple_of` is by default the samples of
        one optimizer step, so that every pruned epoch is made of whole steps.

    Raises
    ------
    TypeError, ValueError
        An argument does not fit, by name.

    Notes
    -----
    Give it to ``accelerator.register_for_checkpointing``: Accelerate asks every rank
    for its state and writes that of the first, so that with several ranks
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
        **options: Unpack[RunOptions],
    ) -> None:
        _check_accelerator(accelerator)
        check_no_shard(options, "Accelerate")
        if isinstance(batch_size, bool) or not isinstance(batch_size, int):
            msg = f"`batch_size` must be an integer, got {batch_size!r}"
            raise TypeError(msg)
        if batch_size < 1:
            msg = f"`batch_size` must be at least 1, got {batch_size}"
            raise ValueError(msg)
        # Split batches are shared by the ranks; others are one for each.
        self._shares = 1 if accelerator.split_batches else accelerator.num_processes
        self._batch = batch_size * self._shares
        self._accumulation = accelerator.gradient_accumulation_steps
        options.setdefault("multiple_of", self._batch * self._accumulation)
        super().__init__(
            dataset,
            epochs=epochs,
            device=accelerator.device,
            buffer=buffer,
            num_replicas=1,
            rank=0,
            group=group,
            **options,
        )

    def scheduler_steps(self, *, drop_last: bool = False) -> int:
        """Count how often a prepared scheduler steps in the whole run.

        Parameters
        ----------
        drop_last : bool, default False
            Whether the loader drops an incomplete last batch.

        Returns
        -------
        int
            Optimizer steps, times the ranks unless they split batches: Accelerate
            steps a scheduler once for each rank. A bound for strategies that find
            their own counts.
        """
        steps = self.pruner.max_total_steps(
            self._batch, accumulation=self._accumulation, drop_last=drop_last
        )
        return steps * self._shares

    def state_dict(self) -> dict[str, Any]:
        """Return the state of all ranks; every rank must ask for it."""
        state = super().state_dict()
        if self.ranks.world_size > 1 and not self.pruner.finished:
            order = self.pruner.plan().order
            place = max(state["position"], self.sampler.start)
            state |= pool(state, self.ranks.group)
            # The ranks go in step: all are where the last of them is.
            step = -(-place // self._batch) * self._batch
            done = state["buffer.counts"][torch.from_numpy(order.copy()).long()].all()
            state["position"] = order.size if done else min(step, order.size)
            state = sealed(state)
        return state | {_WORLD: self.ranks.world_size}

    def load_state_dict(
        self, state: Mapping[str, Any], *, allow: Sequence[str] = ()
    ) -> None:
        """Take over a saved state, on every rank; on an error nothing has changed.

        Parameters
        ----------
        state : mapping
            What :meth:`state_dict` returned.
        allow : sequence of str, default ()
            Fields that may differ on purpose: ``"epochs"``.

        Raises
        ------
        CheckpointError
            A field is missing, unknown, or does not fit; or an open epoch was saved
            by another number of ranks.

        Notes
        -----
        Go on with ``set_epoch(ted.epoch)`` and the loader as it is: the sampler
        passes over what was trained on, and ``skip_first_batches`` would do so again.
        """
        if not isinstance(state, Mapping):
            super().load_state_dict(state, allow=allow)
            return
        own = dict(state)
        saved, here = own.pop(_WORLD, None), self.ranks.world_size
        if saved != here and is_open(own):
            msg = (
                f"`{_WORLD}` must be the saved one while an epoch is open, saved "
                f"{saved!r}, here {here}; save after `set_epoch` of the next epoch"
            )
            raise CheckpointError(msg)
        super().load_state_dict(own, allow=allow)
        if here > 1 and dist.get_rank(self.ranks.group) > 0:
            # The first rank has it all.
            super().load_state_dict(sealed(emptied(own)), allow=allow)


def _check_accelerator(accelerator: object) -> None:
    """Refuse what is no accelerator, or one that part ids from batches or ranks."""
    if not isinstance(accelerator, Accelerator):
        found = type(accelerator).__name__
        msg = f"`accelerator` must be an accelerate.Accelerator, got {found}"
        raise TypeError(msg)
    if accelerator.use_stateful_dataloader:
        msg = (
            "`use_stateful_dataloader` must be False, got True; the session passes "
            "over what was trained on, and both would do so twice"
        )
        raise ValueError(msg)
    if accelerator.num_processes > 1 and not accelerator.even_batches:
        msg = (
            "`even_batches` must be True, got False; ranks that step unequally often "
            "would wait for each other"
        )
        raise ValueError(msg)
