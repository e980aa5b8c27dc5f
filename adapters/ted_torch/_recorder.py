"""What a session does in a step: slots, hooks, and the scaled mean."""

from __future__ import annotations

import torch
from torch import Tensor

from ted_core import EpochError, EpochPlan
from ted_torch._doors import (
    check_graph,
    check_ids,
    check_mask,
    check_unchanged,
    version_of,
)
from ted_torch.buffers import EpochBuffer
from ted_torch.losses import dense_weights, mean_loss, per_sample
from ted_torch.masks import new_cotangent, record, tap

__all__ = ["Recorder"]


class Recorder:
    """The state of the open epoch on the device; the session has the contract.

    Parameters
    ----------
    n : int
        Samples in the data set.
    device : torch.device or str
        Where losses and masks live.
    """

    def __init__(self, n: int, device: torch.device | str) -> None:
        self.n = n
        self.buffer = EpochBuffer(n, device=device)
        # A tensor, so that a compiled step serves every keep ratio.
        self._scale = torch.ones((), device=device)
        self._weights: Tensor | None = None
        self._open: tuple[Tensor, Tensor, Tensor, Tensor, int] | None = None
        self._ready = False

    def begin(self, plan: EpochPlan) -> None:
        """Take the scale and the weights of an epoch."""
        self._scale.fill_(plan.loss_scale)
        self._weights = dense_weights(plan, self._scale.device)
        self._open, self._ready = None, True

    def close(self) -> None:
        """Refuse losses until an epoch begins."""
        self._open, self._ready = None, False

    def mask(self, hidden: Tensor, ids: Tensor) -> Tensor:
        """Record at a tensor whose losses are still to come.

        Parameters
        ----------
        hidden : Tensor of float, shape (B, ...)
            The masked tensor.
        ids : Tensor of int, shape (B,)
            Sample ids.

        Returns
        -------
        Tensor of float, shape (B, ...)
            `hidden`, with the hook.
        """
        if not torch.is_grad_enabled():
            return hidden
        check_mask("hidden", hidden)
        check_ids(ids, hidden.shape[0], self.n)
        tracked = hidden.requires_grad
        out = hidden.view_as(hidden) if tracked else hidden.detach().requires_grad_()
        slots = self.buffer.slots(ids)
        cotangent = new_cotangent(slots, hidden)
        record(out, slots, cotangent, self.buffer)
        alias = out.detach()
        self._open = (ids, slots, cotangent, alias, version_of(alias))
        return out

    def loss(
        self,
        losses: Tensor,
        ids: Tensor,
        mask: Tensor | None,
        weights: Tensor | None,
    ) -> Tensor:
        """Return the scaled mean, whose backward records.

        Parameters
        ----------
        losses : Tensor of float, shape (B, ...)
            Unreduced losses.
        ids : Tensor of int, shape (B,)
            Sample ids.
        mask : Tensor of float, shape (B, ...), or None
            The masked tensor; None after :meth:`mask`.
        weights : Tensor of float, shape (B,), or None
            Weights of the samples.

        Returns
        -------
        Tensor of float, shape ()
            The total.
        """
        if not self._ready:
            msg = "`loss` needs an epoch, got none; call `set_epoch` before each epoch"
            raise EpochError(msg)
        losses = per_sample(losses)
        size = losses.shape[0]
        check_graph("losses", losses)
        check_ids(ids, size, self.n)
        if mask is not None:
            check_mask("mask", mask, size)
            check_graph("mask", mask)
            slots = self.buffer.slots(ids)
            cotangent = new_cotangent(slots, losses)
            record(mask, slots, cotangent, self.buffer)
        elif self._open is not None and self._open[0] is ids:
            _, slots, cotangent, alias, version = self._open
            check_unchanged(alias, version)
        else:
            msg = (
                "`mask` must be a tensor of this forward pass, got None; give the "
                "logits, or call `ted.mask` before with the same `ids`"
            )
            raise ValueError(msg)
        self._open = None
        self.buffer.meters[0].add_(size)
        if self._weights is not None:
            drawn = self._weights[slots]
            weights = drawn if weights is None else drawn * weights
        return mean_loss(tap(losses, cotangent), scale=self._scale, weights=weights)
