"""What Lightning asks of a loader and a sampler whose epochs change their length."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, TypeVar

from torch.utils.data import DataLoader, DistributedSampler

from ted_core import EpochError
from ted_torch.datasets import WithIds
from ted_torch.session import TED

__all__ = ["EpochLoader", "EpochSampler"]

Item = TypeVar("Item")


class EpochSampler(DistributedSampler[Any]):
    """Visit what the session's sampler visits; as long as the whole epoch is.

    Lightning counts a resumed epoch's batches on, so the length holds those before
    the resume. It lets a ``DistributedSampler`` share the data out by itself.

    Parameters
    ----------
    dataset : WithIds
        Data set of the run.
    """

    def __init__(self, dataset: WithIds[Any]) -> None:
        super().__init__(dataset, num_replicas=1, rank=0)
        self.session: TED[Any] | None = None

    def opened(self) -> TED[Any]:
        """Return the session.

        Returns
        -------
        TED
            The run's.

        Raises
        ------
        EpochError
            No trainer has set it up.
        """
        if self.session is None:
            msg = (
                "a session needs a trainer that fits, got none yet; give it "
                "`Trainer(callbacks=[ted])`, and use the loader in `fit` alone"
            )
            raise EpochError(msg)
        return self.session

    def __len__(self) -> int:
        """Count the ids of this rank's share, those passed over included."""
        session = self.opened()
        if session.pruner.finished:
            return int(session.pruner.report().planned[-1])
        return session.sampler.share

    def __iter__(self) -> Iterator[int]:
        """Return an iterator over what is left of this rank's share."""
        session = self.opened()
        return iter(()) if session.pruner.finished else iter(session.sampler)


class EpochLoader(DataLoader[Any]):
    """A loader that Lightning knows it can resume in mid-epoch.

    Parameters
    ----------
    *args, **kwargs : see above
        As of :class:`torch.utils.data.DataLoader`.
    """

    def state_dict(self) -> dict[str, Any]:
        """Return nothing: the callback's state has the position."""
        return {}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Take nothing.

        Parameters
        ----------
        state : mapping
            What :meth:`state_dict` returned.
        """
