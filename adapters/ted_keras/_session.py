"""The schedule of a run, and what its open epoch has recorded."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ted_core import CheckpointError, EpochError, Pruner
from ted_core.typing import Ids, State
from ted_keras.data import TEDData
from ted_keras.step import VALID

__all__ = ["Session"]

_SEEN = "ted_keras.seen"


class Session:
    """Bring pruner, data and store together, one epoch after the other.

    Parameters
    ----------
    pruner : Pruner
        Plans and scores.
    data : TEDData
        What Keras reads.
    short_look : bool, default False
        Whether Keras reads the data once before it trains, and workers would read on.

    Attributes
    ----------
    store : Store or None
        Where the steps write; None while no model is attached.
    seen : ndarray of uint8, shape (n,)
        How often a step of the open epoch has met each sample.

    Examples
    --------
    >>> import numpy as np
    >>> from ted_core import Pruner
    >>> from ted_keras.data import TEDData
    >>> from ted_keras.session import Session
    >>> from ted_keras.data import make_source
    >>> data = TEDData(make_source((np.arange(6.0), np.arange(6))), batch_size=4)
    >>> session = Session(Pruner(6, epochs=5), data)
    >>> session.begin(0)
    >>> int(data.num_batches)
    2
    """

    def __init__(
        self, pruner: Pruner, data: TEDData, *, short_look: bool = False
    ) -> None:
        self.pruner, self.data = pruner, data
        self.store: Any = None
        self.seen = np.zeros(pruner.n, np.uint8)
        self._short_look = short_look and not data.in_turn
        self.rest()

    @property
    def complete(self) -> bool:
        """Whether the steps have met every sample of the open epoch."""
        self.flush()
        return not self.pruner.finished and not self.remaining().size

    @property
    def epoch(self) -> int:
        """Where a fit goes on: the open epoch, or the next if it is complete."""
        return self.pruner.epoch + self.complete

    def flush(self) -> None:
        """Bring what the steps have written to the pruner; waits for the device."""
        if self.store is None or self.pruner.finished:
            return
        table = self.store.read()
        self.store.clear()
        code = table[:, 1].astype(np.int64)
        self.seen += (code % VALID).astype(np.uint8)
        counts = np.minimum(code // VALID, np.iinfo(np.uint8).max)
        self.pruner.observe_sums(table[:, 0], counts)

    def remaining(self) -> Ids:
        """Return the ids that the open epoch has still to visit, in order."""
        order = self.pruner.plan().order
        left: Ids = order[self.seen[order] == 0]
        return left

    def begin(self, epoch: int) -> None:
        """Open an epoch, or go on with one; repeated calls are harmless.

        Parameters
        ----------
        epoch : int
            The current epoch, or the next if all of the current one was seen.

        Raises
        ------
        EpochError
            It is neither, or the run has finished.
        """
        here, expected = self.pruner.epoch, self.epoch
        if self.pruner.finished or epoch != expected:
            then = f"must be {expected}"
            if self.pruner.finished:
                then = f"must be below {here}, where the run has finished"
            msg = (
                f"`epoch` {then}, got {epoch}; resume with "
                "`model.fit(..., initial_epoch=ted.epoch)`, and with the model's "
                "weights of that epoch; a new run needs a new TED"
            )
            raise EpochError(msg)
        if expected > here:
            self.close()
        self.plan()

    def plan(self) -> None:
        """Hand the rest of the open epoch to the data."""
        plan = self.pruner.plan()
        left = self.seen[plan.order] == 0
        if not left.any():
            left[:] = True  # at rest, to be looked at: a fit begins with the next epoch
        scale = np.full(len(plan), plan.loss_scale, np.float32)
        if plan.weights is not None:
            scale *= plan.weights
        self.data.begin(plan.order[left], scale[left])

    def rest(self) -> None:
        """Show the data of the open epoch while no fit runs."""
        if not self.pruner.finished:
            self.plan()
        if self._short_look:
            self.data.shorten()

    def close(self) -> None:
        """Close the open epoch: its values become scores.

        Raises
        ------
        EpochError
            Not every kept sample was met once, or nothing finite was recorded.
        """
        self.flush()
        plan = self.pruner.plan()
        times = self.seen[plan.order]
        wrong = int(np.count_nonzero(times != 1))
        if wrong or int(self.seen.sum(dtype=np.int64)) != len(plan):
            met = int(np.count_nonzero(times))
            if not met:
                msg = (
                    f"an epoch must record its {len(plan)} samples, got none in "
                    f"epoch {plan.epoch}; a Mask where no gradient arrives, on the "
                    "model's input say, records nothing: put it behind a trained layer"
                )
                raise EpochError(msg)
            msg = (
                f"an epoch must train on each of its {len(plan)} samples once, got "
                f"{met} of them, {int((times > 1).sum())} more than once, in epoch "
                f"{plan.epoch}; leave cutting and repeating of epochs to TED"
            )
            raise EpochError(msg)
        self.pruner.advance()
        self.seen[...] = 0

    def state_dict(self) -> State:
        """Return the whole state: the pruner's, and who was met in an open epoch."""
        self.flush()
        state = self.pruner.state_dict()
        if self.seen.any():
            state[_SEEN] = self.seen.copy()
            state[_ORDER] = self.pruner.plan().checksum
        return state

    def load_state_dict(
        self, state: Mapping[str, Any], *, allow: Sequence[str] = ()
    ) -> None:
        """Take over a saved state; on an error nothing has changed.

        Parameters
        ----------
        state : mapping
            What :meth:`state_dict` returned.
        allow : sequence of str, default ()
            ``"epochs"`` extends a run on purpose.

        Raises
        ------
        TypeError, CheckpointError
            A field is missing, unknown, or does not fit.
        """
        if not isinstance(state, Mapping):
            msg = f"`state` must be a mapping, got {type(state).__name__}"
            raise TypeError(msg)
        seen = self._saved_seen(state)
        core = {k: v for k, v in state.items() if k not in {_SEEN, _ORDER}}
        before = self.pruner.state_dict()
        self.pruner.load_state_dict(core, allow=allow)
        here = 0 if self.pruner.finished else self.pruner.plan().checksum
        order = state.get(_ORDER)
        if seen.any() and (type(order) is not int or order != here):
            self.pruner.load_state_dict(before)
            msg = f"`{_ORDER}` must be {here}, saved {order!r}"
            raise CheckpointError(msg)
        self.seen = seen.copy()
        if self.store is not None:
            self.store.clear()
        self.rest()

    def _saved_seen(self, state: Mapping[str, Any]) -> NDArray[np.uint8]:
        """Return who was met in the saved epoch; one that is open says so."""
        pending, seen = state.get("pending"), state.get(_SEEN)
        observed = isinstance(pending, int) and pending
        if seen is None and _ORDER not in state and not observed:
            return np.zeros(self.pruner.n, np.uint8)
        if (
            not isinstance(seen, np.ndarray)
            or seen.shape != self.seen.shape
            or seen.dtype != np.uint8
            or not seen.any()
        ):
            shape = self.seen.shape
            msg = f"`{_SEEN}` must be uint8 of shape {shape}, not all 0, saved {seen!r}"
            raise CheckpointError(msg)
        return seen


_ORDER = "ted_keras.order"
