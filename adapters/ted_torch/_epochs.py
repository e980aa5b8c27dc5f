"""How a session goes from epoch to epoch, and to a file and back."""

from __future__ import annotations

import warnings
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from ted_core import CheckpointError, EpochError, Pruner, TedWarning
from ted_core.shards import sum_over
from ted_torch._recorder import Recorder
from ted_torch.agreement import agree, check_made_in_time, run_facts
from ted_torch.buffers import EpochBuffer
from ted_torch.distributed import Ranks
from ted_torch.samplers import TEDSampler
from ted_torch.shards import check_same_shard
from ted_torch.states import check_whole, read_session, write_session

__all__ = ["Epochs"]


class Epochs:
    """The epochs of a run; the session has the contract.

    Parameters
    ----------
    pruner : Pruner
        The run.
    ranks : Ranks
        Its processes.
    device : torch.device
        Where losses and masks live.
    buffer : EpochBuffer
        Takes the values.
    """

    def __init__(
        self, pruner: Pruner, ranks: Ranks, device: torch.device, buffer: EpochBuffer
    ) -> None:
        self.pruner, self.ranks, self.buffer = pruner, ranks, buffer
        self.sampler = TEDSampler(pruner, ranks=ranks)
        self.recorder = Recorder(pruner.config, self.sampler, device, buffer)
        self._device = device
        self._agreed, self._before = False, 0

    def enter(self, epoch: int, size: int) -> None:
        """Begin an epoch over a data set of `size`, closing the one before."""
        here = self.pruner.epoch
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
            self._merge()
            self.pruner.advance()
            self._clear()
        if not self._agreed:
            facts = run_facts(self.pruner, epoch)
            facts["num_replicas"] = self.ranks.num_replicas
            if self.ranks.num_replicas > 1:
                facts["position"] = self.sampler.start
            agree(facts, self.ranks, device=self._device)
            self._agreed = True
        self.recorder.begin(self.pruner.plan())

    def finish(self) -> None:
        """Close the last epoch, or an early stop."""
        if self.pruner.finished:
            return
        # Ranks take part together, also one that has received nothing.
        if self.received or (self._agreed and self.ranks.world_size > 1):
            self._merge(optional=True)
        self.pruner.finish()
        self._clear()

    @property
    def received(self) -> int:
        """Samples of the open epoch that the loss got on this rank."""
        self.recorder.flush()
        return int(self.buffer.meters[0])

    def _merge(self, *, optional: bool = False) -> None:
        self.recorder.flush()
        shard = self.pruner.config.shard
        sums, counts = self.buffer.read(
            self.pruner.epoch, ranks=self.ranks, optional=optional, shard=shard
        )
        self.recorder.hints.warn(self.pruner.epoch)
        # What is mixed into a batch may come from anywhere.
        here = 0 if self.buffer.shares is not None else self._strays(counts)
        strays = sum_over(shard, here)
        if strays:
            msg = (
                f"an epoch must visit its kept samples alone, got {strays} others in "
                f"epoch {self.pruner.epoch}; give the loader `sampler=ted.sampler`"
            )
            raise EpochError(msg)
        if self.sampler.start and not optional:
            self._warn_of_gaps(counts)
        self.pruner.observe_sums(sums, counts)

    def _strays(self, counts: NDArray[np.uint8]) -> int:
        kept = self.pruner.plan().order
        return int(np.count_nonzero(counts) - np.count_nonzero(counts[kept]))

    def _warn_of_gaps(self, counts: NDArray[np.uint8]) -> None:
        """Tell of a resumed epoch in which more is missing than a batch cut short."""
        missing = np.count_nonzero(counts[self.pruner.plan().order] == 0)
        batch = self.recorder.last_size * self.ranks.num_replicas
        if missing >= max(batch, 1):
            msg = (
                f"a resumed epoch must visit the rest of its samples, got {missing} "
                f"left out in epoch {self.pruner.epoch}; if the loader has a state of "
                "its own, its batch sampler must have one too"
            )
            warnings.warn(msg, TedWarning, stacklevel=5)

    def _clear(self) -> None:
        self.recorder.clear()
        self._before = 0
        self.sampler.restart()

    def save(self) -> dict[str, Any]:
        """Return the state, an open epoch's included."""
        position = 0 if self.pruner.finished else self._position()
        plain = {"order": self._order(), "position": position}
        return write_session(self.pruner.state_dict(), self.buffer, self.ranks, plain)

    def _position(self) -> int:
        """Return how many ids of this rank's share are passed."""
        received, place = self.received, self.recorder.position()
        # Where no batch tells: as far as it went before, and what has come since.
        return self.sampler.start + received - self._before if place is None else place

    def _order(self) -> int:
        """Return the checksum of the open epoch's order, if it is known alone."""
        made_together = self.pruner.config.shard is not None
        if self.pruner.finished or (made_together and not self.pruner.planned):
            return 0
        return self.pruner.plan().checksum

    def load(self, state: Mapping[str, Any], allow: Sequence[str]) -> None:
        """Take over a state; on an error nothing has changed."""
        check_same_shard(state, self.pruner.config.shard)
        pruner, buffer, plain = read_session(state, self.pruner.n, self.ranks)
        before = self.pruner.state_dict()
        self.pruner.load_state_dict(pruner, allow=allow)
        try:
            self._check_order(plain["order"], int(buffer["meters"][0]))
            check_whole(state)
        except CheckpointError:
            self.pruner.load_state_dict(before)
            raise
        self.recorder.clear()
        self.buffer.load(buffer)
        self._before = self.received
        self.sampler.restart(plain["position"])
        self._agreed = False

    def _check_order(self, saved: int, received: int) -> None:
        here = self._order()
        if here != saved and received:
            msg = f"`order` must be this epoch's, saved checksum {saved}, here {here}"
            raise CheckpointError(msg)
