"""What a session does in a step: slots, hooks, and the scaled mean."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import torch
from torch import Tensor

from ted_core import EpochError, EpochPlan
from ted_core.config import RunConfig
from ted_torch._doors import (
    Ids,
    check_graph,
    check_ids,
    check_masks,
    check_unchanged,
    check_weights,
    version_of,
)
from ted_torch.buffers import EpochBuffer
from ted_torch.hints import Hints
from ted_torch.losses import dense_weights, mean_loss, per_sample
from ted_torch.masks import new_cotangent, record, tap
from ted_torch.observations import Observations
from ted_torch.samplers import TEDSampler
from ted_torch.signals import SignalInputs, Values

__all__ = ["Recorder"]


@dataclass(frozen=True, eq=False)
class _Open:
    """A mask whose losses are still to come."""

    ids: Any
    tap: Callable[[Tensor], Tensor]
    watched: list[tuple[Tensor, int]]


class Recorder:
    """The state of the open epoch on the device; the session has the contract.

    Parameters
    ----------
    config : RunConfig
        The run.
    sampler : TEDSampler
        Gives out this rank's ids.
    device : torch.device or str
        Where losses and masks live.
    buffer : EpochBuffer
        Takes the values.
    """

    def __init__(
        self,
        config: RunConfig,
        sampler: TEDSampler,
        device: torch.device | str,
        buffer: EpochBuffer,
    ) -> None:
        self.buffer, self.hints = buffer, Hints(device)
        self._observations = Observations(buffer)
        self._sampler, self._n = sampler, config.n
        self._values = Values(config)
        # A tensor too: one compiled step serves every keep ratio.
        self._factor, self._scale = 1.0, torch.ones((), device=device)
        self._zero = torch.zeros((), device=device, requires_grad=True)
        self._weights: Tensor | None = None
        self._open: _Open | None = None
        self._ready = self._watching = False
        self._epoch, self._received = -1, 0
        self._last: Tensor | None = None

    def begin(self, plan: EpochPlan) -> None:
        """Take the scale and the weights of an epoch."""
        self._factor = plan.loss_scale
        self._scale.fill_(plan.loss_scale)
        self._weights = dense_weights(plan, self.buffer.sums.device)
        self._open, self._ready = None, True
        self._zero.grad = None
        if plan.epoch != self._epoch:
            self._epoch, self._watching = plan.epoch, self._values.masked

    def clear(self) -> None:
        """Forget the epoch and what it recorded."""
        self.buffer.clear()
        self._observations.forget()
        self._open, self._last, self._received = None, None, 0
        self._ready, self._epoch = False, -1

    def flush(self) -> None:
        """Bring everything into the buffer."""
        self._observations.flush()
        self.buffer.meters[0] += self._received
        self._received = 0

    def position(self) -> int | None:
        """Return the place in this rank's share after the last batch received.

        Returns
        -------
        int or None
            A loss taken twice counts once. None before the first batch, and after one
            that does not follow the order.
        """
        self.flush()
        received, last = int(self.buffer.meters[0]), self._last
        return None if last is None else self._sampler.place_after(last, received)

    @property
    def last_size(self) -> int:
        """Samples of the last batch received; 0 if none was, or by a compiled step."""
        return 0 if self._last is None else self._last.numel()

    def mask(self, hidden: Any, ids: Ids) -> Any:
        """Record at tensors whose losses are still to come.

        Parameters
        ----------
        hidden, ids
            As :meth:`TED.mask` takes them.

        Returns
        -------
        Tensor of float, shape (B, ...), or list of them
            `hidden`, with the hooks.
        """
        if not torch.is_grad_enabled() or not self._values.masked:
            return hidden
        checked = check_masks("hidden", hidden)
        checked_ids = check_ids(ids, checked[0].shape[0], self._n)
        out = [self._tracked(part) for part in checked]
        tap_losses = self._attach(out, checked_ids, out[0])
        aliases = [part.detach() for part in out]
        watched = [(alias, version_of(alias)) for alias in aliases]
        self._open = _Open(ids, tap_losses, watched)
        return out[0] if isinstance(hidden, Tensor) else out

    def loss(  # noqa: PLR0917 - the session names them
        self,
        losses: Tensor,
        ids: Ids,
        mask: Tensor | Sequence[Tensor] | None,
        weights: Tensor | None,
        valid: Tensor | None,
        inputs: SignalInputs,
    ) -> Tensor:
        """Return the scaled mean, whose backward records.

        Parameters
        ----------
        losses, ids, mask, weights, valid, inputs
            As :meth:`TED.loss` takes them.

        Returns
        -------
        Tensor of float, shape ()
            The total.
        """
        if not self._ready:
            msg = "`loss` needs an epoch, got none; call `set_epoch` before each epoch"
            raise EpochError(msg)
        losses = per_sample(losses, valid=valid)
        size = losses.shape[0]
        check_graph("losses", losses)
        opened, self._open = self._open, None
        known = opened is not None and opened.ids is ids and mask is None
        # After `mask` the very same ids were checked.
        checked: Any = ids if known else check_ids(ids, size, self._n)
        if weights is not None:
            check_weights(weights, size)
        first = checked if isinstance(checked, Tensor) else checked[0][0]
        self._count(size, first)
        if self._weights is not None:
            drawn = self._weights[first.to(self._weights.device).clamp(0, self._n)]
            weights = drawn if weights is None else drawn * weights
        if opened is not None and known:
            for alias, version in opened.watched:
                check_unchanged(alias, version)
            losses = opened.tap(losses)
        elif mask is not None and self._values.masked:
            masks = check_masks("mask", mask, size)
            for one in masks:
                check_graph("mask", one)
            losses = self._attach(masks, checked, losses)(losses)
        else:
            self._observe(self._values(losses, inputs), checked, weights)
        scale = self._scale if torch.compiler.is_compiling() else self._factor
        return mean_loss(losses, scale=scale, weights=weights)

    def _tracked(self, part: Tensor) -> Tensor:
        """Return the same numbers, such that gradients reach them."""
        if part.requires_grad:
            return part.view_as(part)
        if torch.compiler.is_compiling():
            # A compiled graph can't make a leaf.
            return part.detach() + self._zero
        return part.detach().requires_grad_()

    def _attach(
        self, masks: list[Tensor], ids: Any, like: Tensor
    ) -> Callable[[Tensor], Tensor]:
        """Put the hooks on the masks; return what puts one on the losses."""
        if not torch.compiler.is_compiling():
            step = self._observations.expect(ids)
            step.mark(masks)
            if self._watching:
                self._watching = False
                for part in masks:
                    self.hints.watch(part)
            return step.tap
        several = [len(masks)] if len(masks) > 1 else []
        cotangent = new_cotangent(like, *several, masks[0].shape[0])
        record(
            masks if several else masks[0],
            self.buffer.slots(ids),
            cotangent,
            self.buffer,
        )
        return partial(tap, cotangent=cotangent)

    def _observe(self, values: Tensor, ids: Any, weights: Tensor | None) -> None:
        """Record values, or presence alone, that no backward has to bring."""
        seen = None if weights is None else weights.detach() != 0
        if not torch.compiler.is_compiling():
            self._observations.put(ids, values, seen)
            return
        seen = torch.ones_like(values, dtype=torch.bool) if seen is None else seen
        values = torch.where(seen, values, 0.0)
        self.buffer.add(self.buffer.slots(ids), values, seen)

    def _count(self, size: int, ids: Tensor) -> None:
        if torch.compiler.is_compiling():
            self.buffer.meters[0].add_(size)
            return
        self._received += size
        self._last = ids
        if self._sampler.passes > 1 and self._received > 2 * self._sampler.share:
            msg = (
                f"`loss` must get an epoch's samples, got {self._received} after "
                f"{self._sampler.passes} passes over the {self._sampler.share} of one "
                "epoch; call `set_epoch` before each epoch"
            )
            raise EpochError(msg)
