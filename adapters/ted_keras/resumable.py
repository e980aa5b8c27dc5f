"""What a session tells, saves and takes over, whoever drives its epochs."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from typing import Any

from ted_core import save_state
from ted_core.told import Told
from ted_core.typing import State
from ted_keras.sessions import Session

__all__ = ["Resumable"]


class Resumable(Told):
    """A run that tells where it is, and can be saved and taken up again.

    Parameters
    ----------
    session : Session
        Pruner, data, and what the open epoch has recorded.

    Attributes
    ----------
    data : TEDData
        Give it to ``fit``, beside ``callbacks=[ted]``.
    pruner : Pruner
        Plans, scores, savings and report of the run.
    """

    def __init__(self, session: Session) -> None:
        self._session = session
        self.pruner, self.data = session.pruner, session.data

    @property
    def total_steps(self) -> int:
        """Optimizer steps of the whole run: ``optimizer.iterations`` at its end."""
        return self.pruner.total_steps(self.data.batch_size)

    @property
    def epoch(self) -> int:
        """Where a resumed fit starts: its ``initial_epoch``."""
        return self._session.epoch

    def state_dict(self) -> State:
        """Return the whole state, an open epoch's included: flat, NumPy."""
        return self._session.state_dict()

    def load_state_dict(
        self, state: Mapping[str, Any], *, allow: Sequence[str] = ()
    ) -> None:
        """Take over a saved state; on an error nothing has changed.

        Parameters
        ----------
        state : mapping
            What :meth:`state_dict` returned.
        allow : sequence of str, default ()
            Fields that may differ on purpose: ``"epochs"``.

        Raises
        ------
        TypeError, CheckpointError
            A field is missing, unknown, or does not fit: with both values.

        Notes
        -----
        Go on with ``fit(..., initial_epoch=ted.epoch)``. A state of an open epoch goes
        on with the samples that no step had met.
        """
        self._session.load_state_dict(state, allow=allow)

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write the state to a file, atomically; see `ted_core.load_state`.

        Parameters
        ----------
        path : str or path
            The file.
        """
        save_state(path, self.state_dict())
