"""The session's twin of Keras' backup: a state for each of the last two epochs."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

from ted_core import CheckpointError, load_state, save_state
from ted_core.typing import State

__all__ = ["Backup"]

_STEPS = "ted_keras.iterations"


class Backup:
    """Two states on disk, so that a kill between two savings does no harm.

    Parameters
    ----------
    path : str or path
        File of the newest state; the one before it stands beside.

    Examples
    --------
    >>> import tempfile
    >>> import keras
    >>> from ted_core import Pruner
    >>> from ted_keras.backups import Backup
    >>> model = keras.Sequential([keras.Input((5,)), keras.layers.Dense(3)])
    >>> model.compile("sgd", "mse")
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     backup = Backup(f"{folder}/ted.npz")
    ...     backup.save(Pruner(5, epochs=5).state_dict(), model)
    ...     backup.find(0, model)["epoch"], backup.find(3, model)
    (0, None)
    """

    def __init__(self, path: str | os.PathLike[str]) -> None:
        if not isinstance(path, str | os.PathLike):
            msg = f"`backup` must be a path, got {path!r}"
            raise TypeError(msg)
        self.path = Path(path)
        self.before = self.path.with_name(f"{self.path.name}.before")

    def save(self, state: State, model: Any) -> None:
        """Write a state and keep the one before, atomically.

        Parameters
        ----------
        state : dict
            A session's state.
        model : keras.Model
            Known again by the steps of its optimizer.
        """
        self.path.parent.mkdir(parents=True, exist_ok=True)
        if self.path.exists():
            self.path.replace(self.before)
        save_state(self.path, {**state, _STEPS: int(model.optimizer.iterations)})

    def find(self, epoch: int, model: Any) -> State | None:
        """Return the state in which an epoch begins, or None.

        Parameters
        ----------
        epoch : int
            Epoch.
        model : keras.Model
            The model as it was restored.

        Returns
        -------
        dict or None
            The state; one of a later epoch is forgotten, for its training is undone.

        Raises
        ------
        CheckpointError
            A file is damaged, or the model has the weights of another epoch.
        """
        iterations = int(model.optimizer.iterations)
        for path in (self.path, self.before):
            if path.exists():
                state = load_state(path)
                steps = state.pop(_STEPS, None)
                if state["epoch"] == epoch:
                    if steps != iterations:
                        msg = (
                            f"`optimizer.iterations` must be {steps} at the begin of "
                            f"epoch {epoch}, got {iterations}; weights and epoch of "
                            "the model are from two moments: take an older copy"
                        )
                        raise CheckpointError(msg)
                    if path == self.before:
                        path.replace(self.path)
                    return state
        return None

    def remove(self) -> None:
        """Delete both files."""
        for path in (self.path, self.before):
            path.unlink(missing_ok=True)
