"""A sampler that visits an epoch's kept samples in the plan's order."""

from __future__ import annotations

from collections.abc import Iterator

from torch.utils.data import Sampler

from ted_core import Pruner
from ted_core.typing import Ids

__all__ = ["TEDSampler"]

_CHUNK = 1 << 16


class TEDSampler(Sampler[int]):
    """Visit the current epoch's kept ids; iterating changes nothing.

    Parameters
    ----------
    pruner : Pruner
        Run whose plan is followed; moving its epoch is someone else's task.

    Attributes
    ----------
    start : int
        How many ids of the current epoch's order are passed over, 0 but for an
        epoch resumed in the middle.

    Notes
    -----
    Two iterators over one epoch give the same order, and ``len`` is that of the
    current epoch. No list of all ids is made.

    Examples
    --------
    >>> from ted_core import Pruner
    >>> from ted_torch import TEDSampler
    >>> sampler = TEDSampler(Pruner(10, epochs=5, prune_ratio=0.5))
    >>> len(sampler), list(sampler) == list(sampler)
    (10, True)
    """

    def __init__(self, pruner: Pruner) -> None:
        self.pruner = pruner
        self.start = 0

    def __len__(self) -> int:
        """Count the ids that an iterator made now would give."""
        return max(len(self.pruner.plan()) - self.start, 0)

    def __iter__(self) -> Iterator[int]:
        """Return an iterator over the rest of the current epoch's order."""
        return _integers(self.pruner.plan().order[self.start :])


def _integers(order: Ids) -> Iterator[int]:
    for start in range(0, order.size, _CHUNK):
        yield from order[start : start + _CHUNK].tolist()
