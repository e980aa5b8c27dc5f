"""The batches of the current epoch, as Keras reads them."""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Unpack

import keras
import numpy as np
from numpy.typing import NDArray

from ted_core.typing import Ids
from ted_keras._doors import check_workers
from ted_keras.options import WorkerOptions
from ted_keras.slots import add_weights, pack
from ted_keras.sources import Source

__all__ = ["TEDData"]


@dataclass
class _Epoch:
    """What is left of one epoch; a batch's place is fixed when first asked for."""

    order: Ids
    rows: NDArray[np.float32]
    places: dict[int, int] = field(default_factory=dict)


class TEDData(keras.utils.PyDataset):  # type: ignore[misc]
    """Batches of the current epoch's kept samples; give it to ``model.fit``.

    Parameters
    ----------
    source : Source
        Gives rows by ids.
    batch_size : int
        Samples of a batch.
    on_read : callable
        Called when Keras asks for the length: a fit may begin.
    on_idle_epoch : callable
        Called when an epoch begins that nobody planned.
    **options : WorkerOptions
        ``workers``, ``use_multiprocessing``, ``max_queue_size``.

    Notes
    -----
    A batch is ``(x, y, slot)``, where the slot of the sample weights holds ids, TED's
    factor of each loss, and the user's weights if there are any. Its length is one
    NumPy array without a dimension, which Keras keeps and which is written anew at each
    epoch's begin: so ``fit`` reads the length of every epoch, though it asks once.

    Examples
    --------
    >>> import numpy as np
    >>> from ted_keras.datasets import TEDData
    >>> from ted_keras.sources import make_source
    >>> source = make_source((np.arange(5.0), np.arange(5)))
    >>> data = TEDData(source, batch_size=2)
    >>> data.begin(np.array([4, 0, 2]), np.ones(3, np.float32))
    >>> int(data.num_batches), data[1][0].tolist()
    (2, [4.0, 0.0])
    """

    def __init__(
        self,
        source: Source,
        *,
        batch_size: int,
        on_read: Callable[[], None] = lambda: None,
        on_idle_epoch: Callable[[], None] = lambda: None,
        **options: Unpack[WorkerOptions],
    ) -> None:
        check_workers(**options)
        super().__init__(**options)
        self.source, self.batch_size = source, batch_size
        self._on_read, self._on_idle_epoch = on_read, on_idle_epoch
        self._length = np.zeros((), np.int64)
        self._epoch = _Epoch(np.zeros(0, np.int64), np.zeros((0, 3), np.float32))
        self._lock = threading.Lock()
        self._armed = self._ended = False
        # Batches that come in the order they were asked for undo Keras' shuffle
        # of them; workers ask in no order, and processes do not see each other.
        self.in_turn = self.workers <= 1 and not self.use_multiprocessing

    def begin(self, order: Ids, scale: NDArray[np.float32]) -> None:
        """Take the ids of an epoch.

        Parameters
        ----------
        order : ndarray of int, shape (k,)
            Ids to visit, in order.
        scale : ndarray of float32, shape (k,)
            Factor of each one's loss.
        """
        self._epoch = _Epoch(order.astype(np.int64), pack(order, scale))
        self._length[...] = -(-order.size // self.batch_size)

    def arm(self) -> None:
        """Expect the next epoch: a callback has planned it."""
        self._armed = True

    def shorten(self) -> None:
        """Be one batch long, so that a look at the data reads no further."""
        self._length[...] = 1

    @property
    def length(self) -> NDArray[np.int64]:
        """The live length, shape (); reading it here starts nothing."""
        return self._length

    @property
    def num_batches(self) -> Any:
        """Batches of the current epoch: an ndarray of int64, shape ()."""
        self._ended = False
        self._on_read()
        return self._length

    def __getitem__(self, index: int) -> tuple[Any, Any, dict[str, Any]]:
        """Return a batch of the current epoch.

        Parameters
        ----------
        index : int
            Which one.

        Returns
        -------
        x, y : nested structures of ndarray, shapes (B, ...)
            Inputs and targets.
        slot : dict of str to ndarray
            What TED needs in the step.

        Raises
        ------
        IndexError
            The epoch has no such batch.
        """
        epoch = self._epoch
        steps = -(-epoch.order.size // self.batch_size)
        if not 0 <= index < steps:
            msg = f"`index` must be in [0, {steps}), got {index}"
            raise IndexError(msg)
        place = self._place(epoch, int(index))
        part = slice(place * self.batch_size, (place + 1) * self.batch_size)
        x, y, weights = self.source(epoch.order[part])
        return x, y, add_weights(epoch.rows[part], weights)

    def _place(self, epoch: _Epoch, index: int) -> int:
        if not self.in_turn:
            return index
        with self._lock:
            return epoch.places.setdefault(index, len(epoch.places))

    def on_epoch_begin(self) -> None:
        """Refuse an epoch that no callback has planned."""
        armed, self._armed = self._armed, False
        if not armed and self._ended:
            self._on_idle_epoch()

    def on_epoch_end(self) -> None:
        """Remember that an epoch, or the look before the first, is over."""
        self._ended = True

    def __getstate__(self) -> dict[str, Any]:
        """Leave model and lock out: another process needs the rows only."""
        state = self.__dict__.copy()
        state["_on_read"] = state["_on_idle_epoch"] = _nothing
        del state["_lock"]
        return state

    def __setstate__(self, state: dict[str, Any]) -> None:
        """Take over what another process sent."""
        self.__dict__.update(state, _lock=threading.Lock())


def _nothing() -> None:
    """Do nothing, in another process."""
