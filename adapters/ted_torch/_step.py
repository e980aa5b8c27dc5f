"""What a session does in a step: checks, hooks, and the scaled mean.

An eager step puts hooks on the mask and on the losses; each backward then leaves an
observation behind, one product and one sum over the mask. The observations of several
steps go to the buffer together, with the sums and counts of adding each by itself. A
compiled step adds to the buffer in its own graph.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from itertools import groupby
from typing import Any, NamedTuple, TypeAlias, TypedDict

import array_api_compat.torch as _xp
import numpy as np
import torch
from torch import Tensor

from ted_core import EpochError, EpochPlan, signals
from ted_core.config import METHODS, RunConfig
from ted_torch._losses import dense_weights, mean_loss, per_sample, weights_of_valid
from ted_torch._mask_diagnostics import SYMPTOMS, watch
from ted_torch._validation import (
    Ids,
    check_graph,
    check_ids,
    check_masks,
    check_own_losses,
    check_unchanged,
    check_weights,
    version_of,
)
from ted_torch.buffer import EpochBuffer
from ted_torch.data import TEDSampler
from ted_torch.masks import inner_product, new_loss_gradient, record, tap

_MAX_WAITING = 64

_CheckedIds: TypeAlias = Tensor | list[tuple[Tensor, Tensor]]


class SignalInputs(TypedDict, total=False):
    """What signals other than the mask gradient and the loss are computed from.

    See :func:`ted_core.signals.compute`.
    """

    logits: Tensor
    labels: Tensor
    hidden: Tensor
    bias: bool


_INPUTS = tuple(SignalInputs.__annotations__)


class _Observation:
    """What one backward of one step brings: c_k, and an inner product for each mask."""

    __slots__ = ("ids", "inner", "loss_gradient", "values")

    def __init__(self, ids: _CheckedIds, loss_gradient: Tensor | None) -> None:
        self.ids, self.loss_gradient = ids, loss_gradient
        self.inner: dict[int, Tensor] = {}
        self.values: Tensor | None = None

    def total(self) -> Tensor | None:
        """Return ``|<h_k, g_k>|``, or the values given; None if no mask had one."""
        parts = list(self.inner.values())
        if not parts:
            return self.values
        total: Tensor = sum(parts[1:], start=parts[0])
        return total.abs()

    def divisor(self, total: Tensor) -> Tensor:
        """Return what a total is divided by, 0 where there is no observation."""
        if self.loss_gradient is None:
            return torch.ones_like(total)
        return self.loss_gradient.to(total.dtype).abs()


class _Step:
    """The hooks of one eager step, which may have several backwards."""

    def __init__(
        self, ids: _CheckedIds, masks: Sequence[Tensor], waiting: list[_Observation]
    ) -> None:
        self._ids, self._waiting = ids, waiting
        self._open: _Observation | None = None
        for position, mask in enumerate(masks):
            self._hook(position, mask)

    def _hook(self, position: int, mask: Tensor) -> None:
        """Have backwards read their inner product at a mask."""
        hidden = mask.detach()
        version = version_of(hidden)

        def hook(grad: Tensor) -> None:
            check_unchanged(hidden, version)
            # A backward that did not pass the losses is another loss's.
            if self._open is not None and position not in self._open.inner:
                self._open.inner[position] = inner_product(hidden, grad.detach())

        mask.register_hook(hook)  # type: ignore[no-untyped-call]

    def tap(self, losses: Tensor) -> Tensor:
        """Return the losses unchanged, with a hook that begins an observation."""
        tapped = losses.view_as(losses)

        def hook(grad: Tensor) -> None:
            self._open = _Observation(self._ids, grad.detach())
            self._waiting.append(self._open)

        tapped.register_hook(hook)  # type: ignore[no-untyped-call]
        return tapped


class _Delivery(NamedTuple):
    """A batch that the loss received, and which of its samples have weight 0."""

    ids: _CheckedIds
    weightless: Tensor | None


class _OpenMask(NamedTuple):
    """A mask whose losses are still to come."""

    ids: Any
    kept: _CheckedIds
    tap: Callable[[Tensor], Tensor]
    watched: list[tuple[Tensor, int]]


class StepRecorder:
    """Record the steps of the open epoch, and scale their losses."""

    def __init__(
        self,
        config: RunConfig,
        sampler: TEDSampler,
        device: torch.device,
        buffer: EpochBuffer,
    ) -> None:
        self._config, self._sampler, self._buffer = config, sampler, buffer
        self._device = device
        self._masked = config.signal == "mask_gradient"
        self.symptoms = torch.full((SYMPTOMS,), -1.0, device=device)
        # A tensor too: one compiled step serves every keep ratio.
        self._factor, self._scale = 1.0, torch.ones((), device=device)
        self._zero = torch.zeros((), device=device, requires_grad=True)
        self._weights: Tensor | None = None
        self._waiting: list[_Observation] = []
        self._deliveries: list[_Delivery] = []
        self._open: _OpenMask | None = None
        self._ready = self._watching = False
        self._epoch, self._asked_before = -1, 0
        self._largest = torch.zeros((), dtype=torch.int64, device=device)
        self.clear()

    def begin(self, plan: EpochPlan) -> None:
        """Take the scale and the weights of an epoch."""
        self._factor = plan.loss_scale
        self._scale.fill_(plan.loss_scale)
        self._weights = dense_weights(plan, self._device)
        self._open, self._ready = None, True
        self._zero.grad = None
        if plan.epoch != self._epoch:
            self._epoch, self._watching = plan.epoch, self._masked
            self._asked_before = self._sampler.asked

    def clear(self) -> None:
        """Forget the epoch and what it recorded."""
        self._buffer.clear()
        self._waiting.clear()
        self._deliveries.clear()
        self._open, self._ready, self._epoch = None, False, -1
        # The last batch, samples but for repeated calls with one batch, and whether
        # the sampler was asked for its order before the first.
        self._last: Tensor | None = None
        self._of_last: Any = None
        self._of_mask: Any = None
        self.distinct, self._most, self.asked = 0, 0, True
        self._largest.zero_()

    @property
    def passes(self) -> int:
        """Iterators over the samples that were made since the epoch began."""
        return self._sampler.asked - self._asked_before

    @property
    def begun(self) -> bool:
        """Whether an epoch has begun."""
        return self._ready

    def received(self) -> int:
        """Count the samples that the loss got, once all is in the buffer."""
        self.flush()
        return int(self._buffer.counters[0])

    def largest_batch(self) -> int:
        """Return the samples of the largest batch received; 0 if none was."""
        return max(self._most, int(self._largest))

    def position(self) -> int | None:
        """Return the position in this process's share after the last batch received.

        None before the first batch, and after one that does not follow the order.
        """
        received, last = self.received(), self._last
        if last is None or not last.numel():
            return None
        batch, ranks = last.cpu().numpy(), self._sampler.ranks
        # No further than all the processes that are dealt from this share can have
        # received. A loss taken twice counts once; where the share repeats the batch,
        # the last position counts.
        own = self._config.shard is not None
        together = 1 if own else max(ranks.world_size // ranks.num_replicas, 1)
        share = self._sampler.ids()[: received * together]
        for first in np.flatnonzero(share == batch[0])[::-1]:
            if np.array_equal(share[first : first + batch.size], batch):
                return int(first) + batch.size
        return None

    def mask(self, hidden: Any, ids: Ids) -> Any:
        """Put the mask on tensors whose losses are still to come; see `TED.mask`."""
        if not torch.is_grad_enabled() or not self._masked:
            return hidden
        masks = check_masks("hidden", hidden)
        checked = check_ids(ids, masks[0].shape[0], self._config.n, self._device)
        out = [self._tracked(part) for part in masks]
        kept = checked if torch.compiler.is_compiling() else _copied(checked)
        tap_losses = self._attach(out, kept, out[0])
        aliases = [part.detach() for part in out]
        watched = [(alias, version_of(alias)) for alias in aliases]
        self._open = _OpenMask(ids, kept, tap_losses, watched)
        return out[0] if isinstance(hidden, Tensor) else out

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
        if not self._ready:
            msg = "`loss` needs an epoch, got none; call `set_epoch` before each epoch"
            raise EpochError(msg)
        _check_inputs(inputs)
        losses = per_sample(losses, valid=valid)
        size = losses.shape[0]
        check_graph("losses", losses)
        opened, self._open = self._open, None
        known = opened is not None and opened.ids is ids and mask is None
        checked: Any
        if opened is not None and known:  # `mask` has checked these very ids
            checked = opened.kept
        else:
            checked = check_ids(ids, size, self._config.n, self._device)
            if not torch.compiler.is_compiling():
                checked = _copied(checked)
        if weights is not None:
            check_weights(weights, size)
        first = checked if isinstance(checked, Tensor) else checked[0][0]
        self._count(size, first, ids)
        weights = self._all_weights(first, losses, weights, valid)
        check_own_losses(losses, self._config.signal, weights)
        given_as, masked = self._mask_of(mask, inputs, opened=known)
        if opened is not None and known:
            for alias, version in opened.watched:
                check_unchanged(alias, version)
            losses = opened.tap(losses)
            self._of_mask = ids
        elif masked is not None:
            masks = check_masks(given_as, masked, size)
            for one in masks:
                check_graph(given_as, one)
            losses = self._attach(masks, checked, losses)(losses)
        else:
            values = self._values(losses, inputs, ids, mask)
            self._observe(values, checked, weights)
        self._deliver(checked, weights)
        scale = self._scale if torch.compiler.is_compiling() else self._factor
        return mean_loss(losses, scale, weights)

    def _mask_of(
        self, mask: Any, inputs: SignalInputs, *, opened: bool
    ) -> tuple[str, Any]:
        """Return where the mask stands, and by which name it was given."""
        if not self._masked or opened:
            return "mask", None
        if mask is not None:
            return "mask", mask
        logits = inputs.get("logits")
        # What ranks nothing takes logits of any kind.
        graph = isinstance(logits, Tensor) and logits.requires_grad
        return "logits", logits if graph or self._config.strategy.uses_scores else None

    def _all_weights(
        self,
        first: Tensor,
        losses: Tensor,
        weights: Tensor | None,
        valid: Tensor | None,
    ) -> Tensor | None:
        """Return the product of what weighs the samples; None if nothing does."""
        if valid is not None:
            some_valid = weights_of_valid(losses, valid)
            weights = some_valid if weights is None else weights * some_valid
        if self._weights is not None:
            at = first.to(self._weights.device).clamp(0, self._config.n)
            planned = self._weights[at].to(losses.device)
            weights = planned if weights is None else planned * weights
        return weights

    def _deliver(self, ids: Any, weights: Tensor | None) -> None:
        """Record that a batch has come, and which samples have weight 0."""
        weightless = None if weights is None else weights.detach() == 0
        if torch.compiler.is_compiling():
            self._buffer.deliver(self._buffer.indices(ids), weightless=weightless)
            return
        self._deliveries.append(_Delivery(ids, weightless))
        self._make_room()

    def _count(self, size: int, first: Tensor, ids: Any) -> None:
        """Notice a new batch, and a forgotten `set_epoch`."""
        if torch.compiler.is_compiling():
            self._largest.clamp_(min=size)
            return
        sampler = self._sampler
        if self._last is None:
            self.asked = sampler.asked > self._asked_before
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
            step = _Step(ids, masks, self._waiting)
            if self._watching:
                self._watching = False
                for part in masks:
                    watch(part, self.symptoms)
            return step.tap
        several = [len(masks)] if len(masks) > 1 else []
        loss_gradient = new_loss_gradient(like, *several, masks[0].shape[0])
        indices = self._buffer.find(ids)
        record(masks if several else masks[0], indices, loss_gradient, self._buffer)
        return partial(tap, loss_gradient=loss_gradient)

    def _values(
        self, losses: Tensor, inputs: SignalInputs, ids: Any, mask: Any
    ) -> Tensor:
        """Return a step's values of another signal; zeros if no strategy ranks them."""
        signal, ranks = self._config.signal, self._config.strategy.uses_scores
        if not ranks and signal != "loss":
            return torch.zeros_like(losses)
        if self._masked:
            if ids is self._of_mask:
                msg = (
                    "`loss` must be called once for each `mask`, got a second call "
                    "with the same `ids`; add the losses up, and call it once"
                )
                raise ValueError(msg)
            msg = (
                "`mask` must be a tensor of this forward pass, got None; give the "
                "`logits`, or call `ted.mask` before with the same `ids`"
            )
            raise ValueError(msg)
        missing = [
            name
            for name in signals.INPUTS[signal]
            if name != "losses" and inputs.get(name) is None
        ]
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
        given: dict[str, Any] = {"losses": losses, **inputs}
        if torch.compiler.is_compiling():
            given = _traceable(given)
        with torch.no_grad():
            values: Tensor = signals.compute(signal, **given)
        return values.detach()

    def _observe(self, values: Tensor, ids: Any, weights: Tensor | None) -> None:
        """Record values, or presence alone, that no backward has to bring."""
        seen = None if weights is None else weights.detach() != 0
        if not torch.compiler.is_compiling():
            self._make_room()
            observation = _Observation(ids, seen)
            observation.values = values
            self._waiting.append(observation)
            return
        seen = torch.ones_like(values, dtype=torch.bool) if seen is None else seen
        values = torch.where(seen, values, 0.0)
        self._buffer.add(self._buffer.find(ids), values, seen)

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
            self._add_deliveries(deliveries)
            for plain, run in groupby(waiting, lambda one: isinstance(one.ids, Tensor)):
                parts = [(one, one.total()) for one in run]
                there = [(one, total) for one, total in parts if total is not None]
                if plain and there:
                    self._add(
                        torch.cat([one.ids for one, _ in there]),  # type: ignore[misc]
                        torch.cat([total for _, total in there]),
                        torch.cat([one.divisor(total) for one, total in there]),
                    )
                elif there:
                    for one, total in there:
                        self._add(one.ids, total, one.divisor(total))

    def _add_deliveries(self, deliveries: list[_Delivery]) -> None:
        """Add the batches received to the buffer."""
        if not deliveries:
            return
        mixed = [ids for ids, _ in deliveries if not isinstance(ids, Tensor)]
        partners = [part for ids in mixed for part, _ in ids[1:]]
        if partners:
            self._buffer.indices(torch.cat(partners))  # counts those out of range
        firsts = [i if isinstance(i, Tensor) else i[0][0] for i, _ in deliveries]
        flags = [flag for _, flag in deliveries]
        weightless = None
        if any(flag is not None for flag in flags):
            weightless = torch.cat(
                [
                    torch.zeros_like(ids, dtype=torch.bool, device=self._device)
                    if flag is None
                    else flag.to(self._device)
                    for ids, flag in zip(firsts, flags, strict=True)
                ]
            )
        indices = self._buffer.indices(torch.cat(firsts))
        self._buffer.deliver(indices, weightless=weightless)

    def _add(self, ids: _CheckedIds, totals: Tensor, divisors: Tensor) -> None:
        """Add observations of samples, whose value is total / divisor."""
        seen = divisors != 0
        values = torch.where(seen, totals / divisors, 0.0)
        indices = self._buffer.find(ids)
        self._buffer.add(indices, values, seen)
        self._buffer.add_weightless(indices, ~seen)


def _check_inputs(inputs: SignalInputs) -> None:
    """Refuse an input of a name that no signal has."""
    for name in inputs:
        if name not in _INPUTS:
            msg = f"`loss` must be given {', '.join(_INPUTS)} beside, got {name!r}"
            raise TypeError(msg)


def _copied(ids: _CheckedIds) -> _CheckedIds:
    """Copy ids, since a loop may use their memory again."""
    if isinstance(ids, Tensor):
        return ids.clone()
    return [(part.clone(), weights.clone()) for part, weights in ids]


def _traceable(given: dict[str, Any]) -> dict[str, Any]:
    """Return the inputs as the unchecked formulas take them, for the compiler."""
    floats = {k: v for k, v in given.items() if k in {"losses", "logits", "hidden"}}
    wide = torch.float64 if floats["losses"].dtype == torch.float64 else torch.float32
    out = {**given, **{k: v.to(wide) for k, v in floats.items()}, "xp": _xp}
    labels, logits = given.get("labels"), out.get("logits")
    if labels is not None and logits is not None:
        if labels.ndim < logits.ndim:
            classes = torch.arange(logits.shape[-1], device=labels.device)
            hot = labels[:, None] == classes
            none = ~hot.any(dim=1, keepdim=True)
            labels = hot.to(wide).masked_fill(none, float("nan"))
        out["labels"] = labels.to(wide)
    return out
