"""A session's loader from `torchdata`, whose state is exact; needs that extra."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Generic, Protocol, TypeVar

from torch.utils.data import Sampler
from torchdata.stateful_dataloader import StatefulDataLoader

from ted_torch.data import WithIds

__all__ = ["stateful_loader"]

Item = TypeVar("Item", covariant=True)  # noqa: PLC0105 - the item is only read


class _Session(Protocol[Item]):
    """A data set with ids and a sampler: those of `TED`, or of Lightning's callback."""

    @property
    def dataset(self) -> WithIds[Item]: ...
    @property
    def sampler(self) -> Sampler[Any]: ...


class _StatefulWithIds(WithIds[Item], Generic[Item]):
    """Hand out ids beside the items of a data set that has a state of its own."""

    dataset: Any

    def state_dict(self) -> Any:
        """Return the data set's state."""
        return self.dataset.state_dict()

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Give the data set its state."""
        self.dataset.load_state_dict(state)


def stateful_loader(ted: _Session[Item], **options: Any) -> StatefulDataLoader[Any]:
    """Return a ``StatefulDataLoader`` of a session's data.

    Parameters
    ----------
    ted : TED or TEDCallback
        The session, or Lightning's callback.
    **options : see above
        As of ``StatefulDataLoader``: `batch_size`, `num_workers`, ...

    Returns
    -------
    StatefulDataLoader
        Its batches are ``(ids, items)``, or have the ids where the session's `ids` say.
        Its state may be saved beside the session's; load the session's first.

    Raises
    ------
    TypeError, ValueError
        A data set or a sampler is among the options.

    Notes
    -----
    The session's state alone resumes an epoch in its middle. The loader's adds that of
    the data set in each worker, where the data set has one.

    Examples
    --------
    >>> from ted_torch import TED
    >>> from ted_torch.integrations.torchdata import stateful_loader
    >>> ted = TED(range(10), epochs=5)
    >>> loader = stateful_loader(ted, batch_size=5)
    >>> ted.set_epoch(0)
    >>> [len(ids) for ids, numbers in loader]
    [5, 5]
    """
    dataset: WithIds[Item] = ted.dataset
    if hasattr(dataset.dataset, "state_dict"):
        dataset = _StatefulWithIds(dataset.dataset, ids=dataset.id_path)
    return StatefulDataLoader(dataset, sampler=ted.sampler, **options)
