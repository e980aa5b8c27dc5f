"""What a session does in a step: checks, hooks, and the scaled mean.

An eager step puts hooks on the mask and on the losses; each backward then leaves an
observation behind, one product and one sum over the mask. The observations of several
steps go to the buffer together, with the sums and counts of adding each by itself. A
compiled step adds to the buffer in its own graph.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from itertools import groupby
from typing import Any, NamedTuple, Required, TypeAlias, TypedDict

import array_api_compat.torch as _xp
import numpy as np
import torch
from torch import Tensor

from ted_core import EpochError, EpochPlan, signals
from ted_core.config import METHODS
from ted_core.signals import _formulas
from ted_torch._losses import dense_weights, mean_loss, per_sample
from ted_torch._mask_diagnostics import SYMPTOMS, look, watch
from ted_torch._validation import (
    Ids,
    check_float,
    check_graph,
    check_ids,
    check_masks,
    check_numbers,
    check_own_losses,
    check_shape,
    check_unchanged,
    version_of,
)
from ted_torch.buffer import EpochBuffer, find_indices, load_buffer, mark_weightless
from ted_torch.data import TEDSampler
from ted_torch.masks import inner_product, new_loss_gradient, record, tap

_MAX_WAITING = 64

_CheckedIds: TypeAlias = Tensor | list[tuple[Tensor, Tensor]]


class SignalInputs(TypedDict, total=False):
    """What other signals are computed from; see :func:`ted_core.signals.compute`."""

    logits: Tensor
    labels: Tensor
    hidden: Tensor
    bias: bool


class LossInputs(SignalInputs, total=False):
    """What `TED.loss` takes beside the losses."""

    ids: Required[Ids]
    mask: Tensor | Sequence[Tensor] | None
    weights: Tensor | None
    valid: Tensor | None


_INPUTS = tuple(SignalInputs.__annotations__)


class _Observation:
    """What a backward of a step brings: c_k, and the masks' inner products, added."""

    # Of another signal, which samples have a weight, and the values.
    __slots__ = ("divisor", "ids", "masks", "total")

    def __init__(
        self, ids: _CheckedIds, divisor: Tensor, total: Tensor | None = None
    ) -> None:
        self.ids, self.divisor, self.total = ids, divisor, total
        self.masks: set[int] = set()


def _observe_masks(
    ids: _CheckedIds, masks: Sequence[Tensor], waiting: list[_Observation]
) -> Callable[[Tensor], Tensor]:
    """Put hooks on an eager step's masks; return what puts one on its losses."""
    # Each backward of the step begins an observation at the losses.
    opened: _Observation | None = None

    def read_at(position: int, mask: Tensor) -> None:
        hidden = mask.detach()
        version = version_of(hidden)

        def hook(grad: Tensor) -> None:
            check_unchanged(hidden, version)
            # A backward that did not pass the losses is another loss's.
            if opened is not None and position not in opened.masks:
                opened.masks.add(position)
                inner = inner_product(hidden, grad.detach())
                opened.total = inner if opened.total is None else opened.total + inner

        mask.register_hook(hook)  # type: ignore[no-untyped-call]

    def tap_losses(losses: Tensor) -> Tensor:
        def hook(grad: Tensor) -> None:
            nonlocal opened
            opened = _Observation(ids, grad.detach())
            waiting.append(opened)

        tapped = losses.view_as(losses)
        tapped.register_hook(hook)  # type: ignore[no-untyped-call]
        return tapped

    for position, mask in enumerate(masks):
        read_at(position, mask)
    return tap_losses


class _OpenMask(NamedTuple):
    """A mask whose losses are still to come."""

    ids: Any
    checked: _CheckedIds
    tap: Callable[[Tensor], Tensor]
    watched: list[tuple[Tensor, int]]


class StepRecorder:
    """Record the steps of the open epoch, and scale their losses."""

    def __init__(
        self, sampler: TEDSampler, device: torch.device, buffer: EpochBuffer
    ) -> None:
        self.sampler, self.buffer, self._device = sampler, buffer, device
        self._config = sampler.pruner.config
        self._masked = self._config.signal == "mask_gradient"
        self.symptoms = torch.full((SYMPTOMS,), -1.0, device=device)
        # A tensor too: one compiled step serves every keep ratio.
        self._factor, self._scale = 1.0, torch.ones((), device=device)
        self._zero = torch.zeros((), device=device, requires_grad=True)
        self._weights: Tensor | None = None
        self._waiting: list[_Observation] = []
        # The batches that the loss received, and which of their samples have weight 0.
        self._deliveries: list[tuple[_CheckedIds, Tensor | None]] = []
        self._open: _OpenMask | None = None
        self._epoch, self._asked_before = -1, 0
        self._watching = self.warned = False
        self.told: set[int] = set()  # symptoms that were warned of
        self._largest = torch.zeros((), dtype=torch.int64, device=device)
        self.clear()

    def begin(self, plan: EpochPlan) -> None:
        """Take the scale and the weights of an epoch."""
        self._factor = plan.loss_scale
        self._scale.fill_(plan.loss_scale)
        self._weights = dense_weights(plan, self._device)
        self._open, self.begun = None, True
        self._zero.grad = None
        if plan.epoch != self._epoch:
            self._epoch, self._watching = plan.epoch, True
            self._asked_before = self.sampler.asked

    def clear(self) -> None:
        """Forget the epoch and what it recorded; go to its first position."""
        self.buffer.clear()
        self.sampler.start = self.sampler.passes = 0
        self._waiting.clear()
        self._deliveries.clear()
        self._open, self._epoch = None, -1
        self.begun, self._before = False, 0
        # The last batch, samples but for repeated calls with one batch, and whether
        # the sampler was asked for its order before the first.
        self._last: Tensor | None = None
        self._of_last: Any = None
        self._of_mask: Any = None
        self.distinct, self._most, self.asked = 0, 0, True
        self._largest.zero_()

    def load(self, buffer: Mapping[str, Tensor], position: int) -> None:
        """Go on at a position, with what was recorded before it."""
        self.clear()
        load_buffer(self.buffer, buffer)
        self._before = self.received()
        self.sampler.start = position

    @property
    def passes(self) -> int:
        """Iterators over the samples that were made since the epoch began."""
        return self.sampler.asked - self._asked_before

    def received(self) -> int:
        """Count the samples that the loss got, once all is in the buffer."""
        self.flush()
        return int(self.buffer.counters[0])

    def largest_batch(self) -> int:
        """Return the samples of the largest batch received; 0 if none was."""
        return max(self._most, int(self._largest))

    def position(self) -> int:
        """Return the position in this process's share of the order."""
        found = self.last_position()
        # Where no batch tells: as far as it went before, and what has come since.
        since = self.sampler.start + self.received() - self._before
        return since if found is None else found

    def last_position(self) -> int | None:
        """Return the position after the last batch, or None if it tells none."""
        received, last = self.received(), self._last
        if last is None or not last.numel():
            return None
        batch, ranks = last.cpu().numpy(), self.sampler.ranks
        # No further than all the processes that are dealt from this share can have
        # received. A loss taken twice counts once; where the share repeats the batch,
        # the last position counts.
        own = self._config.shard is not None
        together = 1 if own else max(ranks.world_size // ranks.num_replicas, 1)
        share = self.sampler.ids()[: received * together]
        for first in np.flatnonzero(share == batch[0])[::-1]:
            if np.array_equal(share[first : first + batch.size], batch):
                return int(first) + batch.size
        return None

    def mask(self, hidden: Any, ids: Ids) -> Any:
        """Put the mask on tensors whose losses are still to come; see `TED.mask`."""
        if not torch.is_grad_enabled() or not self._masked:
            return hidden
        masks = check_masks("hidden", hidden)
        checked = self._check_ids(ids, masks[0].shape[0])
        out = [self._tracked(part) for part in masks]
        tap_losses = self._attach(out, checked, out[0])
        aliases = [part.detach() for part in out]
        watched = [(alias, version_of(alias)) for alias in aliases]
        self._open = _OpenMask(ids, checked, tap_losses, watched)
        return out[0] if isinstance(hidden, Tensor) else out

    def _check_ids(self, ids: Ids, size: int) -> _CheckedIds:
        """Return checked ids, copied: a loop may use their memory again."""
        checked = check_ids(ids, size, self._config.n, self._device)
        if torch.compiler.is_compiling():
            return checked
        if isinstance(checked, Tensor):
            return checked.clone()
        return [(part.clone(), weights.clone()) for part, weights in checked]

    def _tracked(self, part: Tensor) -> Tensor:
        """Return the same numbers, such that gradients reach them."""
        if part.requires_grad:
            return part.view_as(part)
        if torch.compiler.is_compiling():
            # A compiled graph can't make a leaf.
            return part.detach() + self._zero
        return part.detach().requires_grad_()

    def loss(  # noqa: PLR0917 - the session names them
        self,
        losses: Tensor,
        ids: Ids,
        mask: Tensor | Sequence[Tensor] | None,
        weights: Tensor | None,
        valid: Tensor | None,
        inputs: SignalInputs,
    ) -> Tensor:
        """Return the scaled mean, whose backward records; see `TED.loss`."""
        if not self.begun:
            msg = "`loss` needs an epoch, got none; call `set_epoch` before each epoch"
            raise EpochError(msg)
        for name in inputs:
            if name not in _INPUTS:
                msg = f"`loss` must be given {', '.join(_INPUTS)} beside, got {name!r}"
                raise TypeError(msg)
        self._check_classes(losses, inputs)
        losses = per_sample(losses, valid=valid)
        size = losses.shape[0]
        check_graph("losses", losses)
        check_numbers("losses", losses, self._device)
        opened, self._open = self._open, None
        if opened is not None and (opened.ids is not ids or mask is not None):
            opened = None
        # `mask` has checked the very ids that it was given.
        checked = self._check_ids(ids, size) if opened is None else opened.checked
        if weights is not None:
            check_shape("`weights`", check_float("weights", weights), (size,))
        first = checked if isinstance(checked, Tensor) else checked[0][0]
        self._count(size, first, ids)
        weights = self._all_weights(first, losses, weights, valid)
        check_own_losses(losses, self._config.signal, weights)
        if opened is not None:
            for alias, version in opened.watched:
                check_unchanged(alias, version)
            losses = opened.tap(losses)
            self._of_mask = ids
        elif masks := self._masks_of(mask, inputs, size):
            losses = self._attach(masks, checked, losses)(losses)
        else:
            values = self._values(losses, inputs, ids, mask)
            self._observe(values, checked, weights)
        self._deliver(checked, weights)
        scale = self._scale if torch.compiler.is_compiling() else self._factor
        return mean_loss(losses, scale, weights)

    def _check_classes(self, losses: Any, inputs: SignalInputs) -> None:
        """Refuse a signal of classes for outputs that have a loss each."""
        config, logits = self._config, inputs.get("logits")
        of_classes = "logits" in signals.INPUTS[config.signal] and not self._masked
        if not (of_classes and config.strategy.uses_scores):
            return
        if not isinstance(logits, Tensor):
            return
        shape = tuple(logits.shape)
        if len(shape) > 1 and shape[-1] > 1 and getattr(losses, "shape", ()) == shape:
            each = f"a loss for each output, shape {shape}"
            raise ValueError(config.no_classes(each))

    def _masks_of(self, mask: Any, inputs: SignalInputs, size: int) -> list[Tensor]:
        """Return the tensors that the mask stands at; none for another signal."""
        name = "mask" if mask is not None else "logits"
        if mask is None:
            mask = inputs.get("logits")
            # What ranks nothing takes logits of any kind.
            graph = isinstance(mask, Tensor) and mask.requires_grad
            mask = mask if graph or self._config.strategy.uses_scores else None
        if mask is None or not self._masked:
            return []
        masks = check_masks(name, mask, size)
        for one in masks:
            check_graph(name, one)
        return masks

    def _all_weights(
        self,
        first: Tensor,
        losses: Tensor,
        weights: Tensor | None,
        valid: Tensor | None,
    ) -> Tensor | None:
        """Return the product of what weighs the samples; None if nothing does."""
        if valid is not None:  # a sample without a valid loss has weight 0
            some = valid.reshape(valid.shape[0], -1).any(1).to(losses.dtype)
            weights = some if weights is None else weights * some
        if self._weights is not None:
            at = first.to(self._weights.device).clamp(0, self._config.n)
            planned = self._weights[at].to(losses.device)
            weights = planned if weights is None else planned * weights
        return weights

    def _count(self, size: int, first: Tensor, ids: Any) -> None:
        """Notice a new batch, and a forgotten `set_epoch`."""
        if torch.compiler.is_compiling():
            self._largest.clamp_(min=size)
            return
        sampler = self.sampler
        if self._last is None:
            self.asked = self.passes > 0
        given = ids if isinstance(ids, Tensor) else ids[0][0]
        if given is not self._of_last:
            self.distinct += size
        self._last, self._of_last = first, given
        self._most = max(self._most, size)
        if sampler.passes > 1 and self.distinct > 2 * sampler.share:
            msg = (
                f"`loss` must get an epoch's samples, got {self.distinct} after "
                f"{sampler.passes} passes over the {sampler.share} of one epoch; call "
                "`set_epoch` before each epoch, give a framework epochs of "
                "`len(loader)` steps, and leave `ted.loss` out of passes that are no "
                "epoch (a learning rate finder's): `losses.mean()` records nothing"
            )
            raise EpochError(msg)

    def _attach(
        self, masks: list[Tensor], ids: Any, like: Tensor
    ) -> Callable[[Tensor], Tensor]:
        """Put the hooks on the masks; return what puts one on the losses."""
        if not torch.compiler.is_compiling():
            self._make_room()
            tap_losses = _observe_masks(ids, masks, self._waiting)
            if self._watching:
                self._watching = False
                for part in masks:
                    watch(part, self.symptoms)
            return tap_losses
        several = [len(masks)] if len(masks) > 1 else []
        loss_gradient = new_loss_gradient(like, *several, masks[0].shape[0])
        indices = find_indices(self.buffer, ids)
        record(masks if several else masks[0], indices, loss_gradient, self.buffer)
        return partial(tap, loss_gradient=loss_gradient)

    def _values(
        self, losses: Tensor, inputs: SignalInputs, ids: Any, mask: Any
    ) -> Tensor:
        """Return a step's values of another signal; zeros if no strategy ranks them."""
        signal, ranks = self._config.signal, self._config.strategy.uses_scores
        if not ranks and signal != "loss":
            return torch.zeros_like(losses)
        if self._masked:
            msg = (
                "`mask` must be a tensor of this forward pass, got None; give the "
                "`logits`, or call `ted.mask` before with the same `ids`"
            )
            if ids is self._of_mask:
                msg = (
                    "`loss` must be called once for each `mask`, got a second call "
                    "with the same `ids`; add the losses up, and call it once"
                )
            raise ValueError(msg)
        given: dict[str, Any] = {"losses": losses, **inputs}
        missing = [k for k in signals.INPUTS[signal] if given.get(k) is None]
        if missing:
            methods = [name for name, (of, _) in METHODS.items() if of == signal]
            by = f' of method="{methods[0]}"' if methods else ""
            found = "None" if mask is None else "`mask` alone"
            msg = (
                f"`{missing[0]}` must be given for the signal {signal!r}{by}, got "
                f"{found}; one call serves every method: `ted.loss(losses, ids=ids, "
                "logits=logits, labels=y)`"
            )
            raise ValueError(msg)
        if torch.compiler.is_compiling():
            given = _traceable(given)
        with torch.no_grad():
            values: Tensor = signals.compute(signal, **given)
            if self._watching and not torch.compiler.is_compiling():
                self._watching = False
                if "logits" in signals.INPUTS[signal]:
                    look(given["logits"].detach(), self.symptoms)
        return values.detach()

    def _observe(self, values: Tensor, ids: Any, weights: Tensor | None) -> None:
        """Record values, or presence alone, that no backward has to bring."""
        if weights is None:
            seen = torch.ones_like(values, dtype=torch.bool)
        else:
            seen = weights.detach() != 0
        if not torch.compiler.is_compiling():
            self._make_room()
            self._waiting.append(_Observation(ids, seen, values))
            return
        values = torch.where(seen, values, 0.0)
        self.buffer.add(find_indices(self.buffer, ids), values, seen)

    def _deliver(self, ids: Any, weights: Tensor | None) -> None:
        """Record that a batch has come, and which samples have weight 0."""
        weightless = None if weights is None else weights.detach() == 0
        if torch.compiler.is_compiling():
            self.buffer.deliver(self.buffer.indices(ids), weightless=weightless)
            return
        self._deliveries.append((ids, weightless))
        self._make_room()

    def _make_room(self) -> None:
        """Bring what waits into the buffer when there is much."""
        if max(len(self._waiting), len(self._deliveries)) >= _MAX_WAITING:
            self.flush()

    def flush(self) -> None:
        """Bring all that waits into the buffer, in the order of its coming."""
        waiting, deliveries = list(self._waiting), list(self._deliveries)
        self._waiting.clear()
        self._deliveries.clear()
        with torch.no_grad():
            if deliveries:
                self._add_deliveries(deliveries)
            found = [
                (one.ids, one.total, one.divisor)
                for one in waiting
                if one.total is not None
            ]
            for plain, run in groupby(found, lambda one: isinstance(one[0], Tensor)):
                parts: list[Any] = list(run)
                if plain:
                    parts = [map(torch.cat, zip(*parts, strict=True))]
                for ids, totals, divisors in parts:
                    self._add(ids, totals, divisors)

    def _add_deliveries(
        self, deliveries: list[tuple[_CheckedIds, Tensor | None]]
    ) -> None:
        """Add the batches received to the buffer."""
        parts = [
            [ids] if isinstance(ids, Tensor) else [part for part, _ in ids]
            for ids, _ in deliveries
        ]
        partners = [part for _, *others in parts for part in others]
        if partners:
            self.buffer.indices(torch.cat(partners))  # counts those out of range
        firsts, weightless = [first for first, *_ in parts], None
        if any(flag is not None for _, flag in deliveries):
            flags = [
                torch.zeros(len(first), dtype=torch.bool) if flag is None else flag
                for first, (_, flag) in zip(firsts, deliveries, strict=True)
            ]
            weightless = torch.cat([flag.to(self._device) for flag in flags])
        indices = self.buffer.indices(torch.cat(firsts))
        self.buffer.deliver(indices, weightless=weightless)

    def _add(self, ids: _CheckedIds, totals: Tensor, divisors: Tensor) -> None:
        """Add observations of samples, whose value is total / divisor."""
        seen = divisors != 0
        values = torch.where(seen, totals / divisors, 0.0)
        values = values.abs() if self._masked else values
        indices = find_indices(self.buffer, ids)
        self.buffer.add(indices, values, seen)
        mark_weightless(self.buffer, indices, ~seen)


def _traceable(given: dict[str, Any]) -> dict[str, Any]:
    """Return the inputs as the unchecked formulas take them, for the compiler."""
    floats = {k: v for k, v in given.items() if k in {"losses", "logits", "hidden"}}
    wide = torch.float64 if floats["losses"].dtype == torch.float64 else torch.float32
    out = {**given, **{k: v.to(wide) for k, v in floats.items()}, "xp": _xp}
    labels, logits = given.get("labels"), out.get("logits")
    if labels is not None and logits is not None:
        if labels.ndim < logits.ndim:
            classes = torch.arange(logits.shape[-1], device=labels.device)
            labels = _formulas.one_hot(_xp, logits, labels, classes)
        out["labels"] = labels.to(wide)
    return out
