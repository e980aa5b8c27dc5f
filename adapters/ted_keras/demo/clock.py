"""A callback that takes the time of each epoch, and what TED knows at its end."""

from __future__ import annotations

from collections.abc import Callable
from time import perf_counter, process_time
from typing import Any

import keras
import numpy as np
from numpy.typing import NDArray

from ted_keras.callbacks import TED

__all__ = ["Clock"]


class Clock(keras.callbacks.Callback):  # type: ignore[misc]
    """Take the time from the end of one epoch to the end of the next.

    The first and the last batch of the first epoch are left out: there Keras compiles
    the step, for the one batch shape and for the other.

    Parameters
    ----------
    n : int
        Samples.
    ted : TED, optional
        The session; it stands before in the list of callbacks.
    after_epoch : callable, optional
        Called without arguments after each epoch.

    Attributes
    ----------
    seconds, cpu_seconds : list of float
        Time of each epoch, planning and closing included.
    samples : list of int
        Samples of each epoch, counted.
    scores : list of ndarray
        Scores after each epoch.
    """

    def __init__(
        self,
        n: int,
        *,
        ted: TED | None = None,
        after_epoch: Callable[[], object] = lambda: None,
    ) -> None:
        super().__init__()
        self._n, self._ted, self._after_epoch = n, ted, after_epoch
        self.seconds: list[float] = []
        self.cpu_seconds: list[float] = []
        self.samples: list[int] = []
        self.scores: list[NDArray[np.float32]] = []
        self._last = self._batch = self._now()

    @staticmethod
    def _now() -> NDArray[np.float64]:
        return np.array([perf_counter(), process_time()])

    def _compiles(self, batch: int) -> bool:
        return not self.seconds and batch in {0, int(self.params["steps"]) - 1}

    def on_train_begin(self, logs: Any = None) -> None:
        """Start.

        Parameters
        ----------
        logs : dict, optional
            Not used.
        """
        del logs
        self._last = self._now()

    def on_train_batch_begin(self, batch: int, logs: Any = None) -> None:
        """Note the time before a batch that Keras compiles for.

        Parameters
        ----------
        batch : int
            Which one, from 0.
        logs : dict, optional
            Not used.
        """
        del logs
        if self._compiles(batch):
            self._batch = self._now()

    def on_train_batch_end(self, batch: int, logs: Any = None) -> None:
        """Leave out a batch that Keras compiled for.

        Parameters
        ----------
        batch : int
            Which one, from 0.
        logs : dict, optional
            Not used.
        """
        del logs
        if self._compiles(batch):
            self._last += self._now() - self._batch

    def on_epoch_end(self, epoch: int, logs: Any = None) -> None:
        """Note the epoch's time, samples and scores.

        Parameters
        ----------
        epoch : int
            Which one, from 0.
        logs : dict, optional
            Not used.
        """
        del epoch, logs
        wall, cpu = self._now() - self._last
        self.seconds.append(float(wall))
        self.cpu_seconds.append(float(cpu))
        if self._ted is None:
            self.samples.append(self._n)
        else:
            pruner = self._ted.pruner
            self.samples.append(int(pruner.visits.sum()) - sum(self.samples))
            self.scores.append(pruner.scores)
        self._after_epoch()
        self._last = self._now()
