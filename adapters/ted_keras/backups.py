"""The session's twin of Keras' backup: a state for each of the last two epochs."""

from __future__ import annotations

import os
from pathlib import Path

from ted_core import load_state, save_state
from ted_core.typing import State

__all__ = ["Backup"]


class Backup:
    """Two states on disk, so that a kill between two savings does no harm.

    Parameters
    ----------
    path : str or path
        File of the newest state; the one before it stands beside.

    Examples
    --------
    >>> import tempfile
    >>> from ted_core import Pruner
    >>> from ted_keras.backups import Backup
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     backup = Backup(f"{folder}/ted.npz")
    ...     backup.save(Pruner(5, epochs=5).state_dict())
    ...     backup.find(0)["epoch"], backup.find(3)
    (0, None)
    """

    def __init__(self, path: str | os.PathLike[str]) -> None:
        self.path = Path(path)
        self.before = self.path.with_name(f"{self.path.name}.before")

    def save(self, state: State) -> None:
        """Write a state and keep the one before, atomically.

        Parameters
        ----------
        state : dict
            A session's state.
        """
        self.path.parent.mkdir(parents=True, exist_ok=True)
        if self.path.exists():
            self.path.replace(self.before)
        save_state(self.path, state)

    def find(self, epoch: int) -> State | None:
        """Return the state in which an epoch begins, or None.

        Parameters
        ----------
        epoch : int
            Epoch.

        Returns
        -------
        dict or None
            The state.

        Raises
        ------
        CheckpointError
            A file is damaged.
        """
        for path in (self.path, self.before):
            if path.exists():
                state = load_state(path)
                if state["epoch"] == epoch:
                    return state
        return None

    def remove(self) -> None:
        """Delete both files."""
        for path in (self.path, self.before):
            path.unlink(missing_ok=True)
