"""What steps bring, gathered in a list and added to the buffer many at a time."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import groupby
from typing import TypeAlias

import torch
from torch import Tensor

from ted_torch._doors import check_unchanged, version_of
from ted_torch.buffers import EpochBuffer
from ted_torch.masks import inner_product

__all__ = ["Observation", "Observations", "Step"]

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
    >>> from ted_torch.observations import Observations
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
