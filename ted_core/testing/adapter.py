"""What the conformance suite asks of an adapter, and the plainest one."""

from __future__ import annotations

from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from ted_core.pruner import Pruner
from ted_core.typing import State

__all__ = ["Adapter", "LoopAdapter"]


class Adapter(Protocol):
    """One training session of an adapter, as the suite drives it.

    The model behind it is the author's choice: all that counts is that sample k
    yields the value it is given, through the adapter's real step.
    """

    def start(self, n: int, *, batch_size: int, **options: Any) -> None:
        """Begin a session over samples 0 ... n - 1.

        Parameters
        ----------
        n : int
            Samples.
        batch_size : int
            Samples of one step.
        **options : options of :class:`ted_core.Pruner`
            The run, ``epochs`` included.
        """

    def run_epoch(
        self, epoch: int, values: NDArray[np.float32], *, steps: int | None = None
    ) -> list[NDArray[np.int64]]:
        """Train one epoch, or the rest of one that was interrupted.

        Parameters
        ----------
        epoch : int
            Epoch; the adapter closes the one before.
        values : ndarray of float32, shape (n,)
            Value that each sample's step must yield.
        steps : int, optional
            Stop after as many steps, in mid-epoch.

        Returns
        -------
        list of ndarray of int64
            Ids of each step, in order.
        """

    def finish(self) -> None:
        """Close the last epoch."""

    def total_steps(self) -> int:
        """Return the optimizer steps of the run, known at its start."""

    def loss_scale(self) -> float:
        """Return what the last step's total was, divided by the mean of its losses."""

    def save(self) -> Any:
        """Return the state as the adapter's users save it."""

    def restore(self, saved: Any) -> None:
        """Take over a state in a session just started alike."""

    def core_state(self) -> State:
        """Return ``Pruner.state_dict()`` of the session's core."""


class LoopAdapter:
    """A loop of one's own with NumPy alone: the reference of the suite.

    Examples
    --------
    >>> from ted_core.testing import CHECKS, LoopAdapter
    >>> for check in CHECKS.values():
    ...     check(LoopAdapter)
    """

    pruner: Pruner

    def start(self, n: int, *, batch_size: int, **options: Any) -> None:
        """Begin a session; see :class:`Adapter`."""
        self.pruner = Pruner(n, **options)
        self.batch_size = batch_size
        self.position = 0

    def run_epoch(
        self, epoch: int, values: NDArray[np.float32], *, steps: int | None = None
    ) -> list[NDArray[np.int64]]:
        """Train one epoch; see :class:`Adapter`."""
        if epoch == self.pruner.epoch + 1:
            self.pruner.advance()
            self.position = 0
        plan = self.pruner.plan()
        trained: list[NDArray[np.int64]] = []
        while self.position < len(plan) and len(trained) != steps:
            ids = plan.order[self.position : self.position + self.batch_size]
            self.pruner.observe(ids, values[ids])
            self.scale = plan.loss_scale
            if plan.weights is not None:
                weights = plan.weights[self.position : self.position + ids.size]
                self.scale *= float(weights.mean())
            self.position += ids.size
            trained.append(ids.astype(np.int64))
        return trained

    def finish(self) -> None:
        """Close the last epoch."""
        self.pruner.finish()

    def total_steps(self) -> int:
        """Return the optimizer steps of the run."""
        return self.pruner.total_steps(self.batch_size)

    def loss_scale(self) -> float:
        """Return the plan's factor, times the mean of the last step's weights."""
        return self.scale

    def save(self) -> Any:
        """Return the core's state and the position in the epoch."""
        return {**self.pruner.state_dict(), "position": self.position}

    def restore(self, saved: Any) -> None:
        """Take over what :meth:`save` returned."""
        state = dict(saved)
        self.position = state.pop("position")
        self.pruner.load_state_dict(state)

    def core_state(self) -> State:
        """Return the core's state."""
        return self.pruner.state_dict()
