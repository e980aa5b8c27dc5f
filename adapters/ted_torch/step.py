"""What a session does in a step: slots, hooks, and the scaled mean."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import groupby
from typing import Any, TypeAlias, TypedDict

import array_api_compat.torch as _xp
import torch
from torch import Tensor

from ted_core import EpochError, EpochPlan, signals
from ted_core.config import RunConfig
from ted_torch._validation import (
    Ids,
    check_graph,
    check_ids,
    check_masks,
    check_unchanged,
    check_weights,
    version_of,
)
from ted_torch.buffer import EpochBuffer
from ted_torch.data import TEDSampler
from ted_torch.losses import dense_weights, mean_loss, per_sample
from ted_torch.mask_diagnostics import Hints
from ted_torch.masks import inner_product, new_cotangent, record, tap

__all__ = [
    "Observation",
    "Observations",
    "Recorder",
    "SignalInputs",
    "Step",
    "Values",
]

_MOST_WAITING = 64


_Ids: TypeAlias = Tensor | list[tuple[Tensor, Tensor]]


class Observation:
    """One backward of one step: c_k, and an inner product for each mask.

    Parameters
    ----------
    ids : Tensor of int, shape (B,), or list of pairs (ids, weights)
        Whose they are.
    c : Tensor of float, shape (B,), or None
        Gradient of the total with respect to the losses; None is 1.
    """

    __slots__ = ("c", "ids", "inner", "values")

    def __init__(self, ids: _Ids, c: Tensor | None) -> None:
        self.ids, self.c = ids, c
        self.inner: dict[int, Tensor] = {}
        self.values: Tensor | None = None

    def total(self) -> Tensor | None:
        """Return ``|<h_k, g_k>|``, summed over the masks, or the values given.

        Returns
        -------
        Tensor of float, shape (B,), or None
            None if no mask got a gradient.
        """
        parts = list(self.inner.values())
        if not parts:
            return self.values
        total: Tensor = sum(parts[1:], start=parts[0])
        return total.abs()


class Step:
    """The hooks of one step.

    Parameters
    ----------
    ids : Tensor of int, shape (B,), or list of pairs (ids, weights)
        Sample ids.
    waiting : list of Observation
        Takes what each backward of the step brings.
    """

    def __init__(self, ids: _Ids, waiting: list[Observation]) -> None:
        self._ids, self._waiting = ids, waiting
        self._open: Observation | None = None

    def mark(self, masks: Sequence[Tensor]) -> None:
        """Have backwards read their inner products at the masks.

        Parameters
        ----------
        masks : sequence of Tensor of float, shape (B, ...)
            The masked tensors; a single mask stands at all of them.
        """
        for place, mask in enumerate(masks):
            self._mark(place, mask)

    def _mark(self, place: int, mask: Tensor) -> None:
        hidden = mask.detach()
        version = version_of(hidden)

        def hook(grad: Tensor) -> None:
            check_unchanged(hidden, version)
            # A backward that did not pass the losses is another loss's.
            if self._open is not None and place not in self._open.inner:
                self._open.inner[place] = inner_product(hidden, grad.detach())

        mask.register_hook(hook)  # type: ignore[no-untyped-call]

    def tap(self, losses: Tensor) -> Tensor:
        """Return the losses unchanged, with a hook that starts an observation.

        Parameters
        ----------
        losses : Tensor of float, shape (B,)
            One loss a sample.

        Returns
        -------
        Tensor of float, shape (B,)
            The losses, to be reduced to the total.
        """
        tapped = losses.view_as(losses)

        def hook(grad: Tensor) -> None:
            self._open = Observation(self._ids, grad.detach())
            self._waiting.append(self._open)

        tapped.register_hook(hook)  # type: ignore[no-untyped-call]
        return tapped


class Observations:
    """Observations on their way to the buffer, some steps late.

    Parameters
    ----------
    buffer : EpochBuffer
        Takes them.

    Notes
    -----
    A step costs one product and one sum over the mask; the rest is done for 64 steps
    at once. Sums and counts are those of adding each step by itself.

    Examples
    --------
    >>> import torch
    >>> from ted_torch import EpochBuffer
    >>> from ted_torch.step import Observations
    >>> buffer = EpochBuffer(3)
    >>> observations = Observations(buffer)
    >>> observations.put(torch.tensor([2, 0]), torch.tensor([0.5, 1.0]), None)
    >>> observations.flush()
    >>> buffer.sums.tolist()
    [1.0, 0.0, 0.5, 0.0]
    """

    def __init__(self, buffer: EpochBuffer) -> None:
        self.buffer = buffer
        self._waiting: list[Observation] = []

    def expect(self, ids: _Ids) -> Step:
        """Return the hooks of a step.

        Parameters
        ----------
        ids : Tensor of int, shape (B,), or list of pairs (ids, weights)
            Sample ids; copied, since a loop may use their memory again.

        Returns
        -------
        Step
            To be given the masks and the losses.
        """
        self._make_room()
        return Step(_copied(ids), self._waiting)

    def put(self, ids: _Ids, values: Tensor, c: Tensor | None) -> None:
        """Take values that are there already.

        Parameters
        ----------
        ids : Tensor of int, shape (B,), or list of pairs (ids, weights)
            Sample ids.
        values : Tensor of float, shape (B,)
            Values.
        c : Tensor of float, shape (B,), or None
            What they are divided by, 0 where there is no observation; None is 1.
        """
        self._make_room()
        observation = Observation(_copied(ids), c)
        observation.values = values
        self._waiting.append(observation)

    def flush(self) -> None:
        """Add everything to the buffer, in the order of its coming."""
        waiting = list(self._waiting)
        self._waiting.clear()
        with torch.no_grad():
            for plain, run in groupby(waiting, lambda one: isinstance(one.ids, Tensor)):
                parts = [(one, one.total()) for one in run]
                there = [(one, total) for one, total in parts if total is not None]
                if plain and there:
                    self._add(
                        torch.cat([one.ids for one, _ in there]),  # type: ignore[misc]
                        torch.cat([total for _, total in there]),
                        torch.cat([_factor(one, total) for one, total in there]),
                    )
                elif there:
                    for one, total in there:
                        self._add(one.ids, total, _factor(one, total))

    def forget(self) -> None:
        """Drop everything."""
        self._waiting.clear()

    def _add(self, ids: _Ids, inner: Tensor, c: Tensor) -> None:
        seen = c != 0
        values = torch.where(seen, inner / c, 0.0)
        self.buffer.add(self.buffer.slots(ids), values, seen)

    def _make_room(self) -> None:
        if len(self._waiting) >= _MOST_WAITING:
            self.flush()


def _copied(ids: _Ids) -> _Ids:
    if isinstance(ids, Tensor):
        return ids.clone()
    return [(part.clone(), weights.clone()) for part, weights in ids]


def _factor(one: Observation, total: Tensor) -> Tensor:
    return torch.ones_like(total) if one.c is None else one.c.to(total.dtype).abs()


class SignalInputs(TypedDict, total=False):
    """What signals other than the mask gradient and the loss are computed from.

    See :func:`ted_core.signals.compute`.
    """

    logits: Tensor
    labels: Tensor
    hidden: Tensor
    bias: bool


class Values:
    """Compute a value for each sample of a step that has no mask.

    Parameters
    ----------
    config : RunConfig
        The run: its signal, and whether its strategy ranks at all.

    Attributes
    ----------
    masked : bool
        Whether the signal is the mask gradient, which comes with the backward.

    Examples
    --------
    >>> import torch
    >>> from ted_core import Pruner
    >>> from ted_torch.step import Values
    >>> values = Values(Pruner(8, epochs=9, signal="least_confidence").config)
    >>> values(torch.ones(1), {"logits": torch.tensor([[0.0, 0.0]])})
    tensor([0.5000])
    """

    def __init__(self, config: RunConfig) -> None:
        self.masked = config.signal == "mask_gradient"
        self._signal, self._ranks = config.signal, config.strategy.uses_scores

    def __call__(self, losses: Tensor, inputs: SignalInputs) -> Tensor:
        """Return the values; zeros for a strategy that ranks nothing.

        Parameters
        ----------
        losses : Tensor of float, shape (B,)
            Unscaled loss of each sample.
        inputs : SignalInputs
            What the caller gave.

        Returns
        -------
        Tensor of float, shape (B,)
            Values, without a graph.

        Raises
        ------
        TypeError, ValueError
            An input that the signal needs is missing or does not fit.
        """
        if not self._ranks and (self.masked or self._signal != "loss"):
            return torch.zeros_like(losses)
        if self.masked:
            msg = (
                "`mask` must be a tensor of this forward pass, got None; give the "
                "logits, or call `ted.mask` before with the same `ids`"
            )
            raise ValueError(msg)
        given: dict[str, Any] = {"losses": losses, **inputs}
        if torch.compiler.is_compiling():
            given = _traceable(given)
        with torch.no_grad():
            values: Tensor = signals.compute(self._signal, **given)
        return values.detach()


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
