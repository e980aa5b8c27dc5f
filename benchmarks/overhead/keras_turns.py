"""Several fits in one process, an epoch of each in turn, and the time of each."""

from __future__ import annotations

import threading
import time

import keras
import numpy as np

__all__ = ["Run", "take_turns"]


class Stamp(keras.callbacks.Callback):
    """Note the clocks at an epoch's begin and end."""

    def __init__(self, at_end=None):
        super().__init__()
        self.begins, self.ends, self._at_end = [], [], at_end

    def on_epoch_begin(self, epoch, logs=None):
        """Note the time."""
        del epoch, logs
        self.begins.append((time.perf_counter(), time.process_time()))

    def on_epoch_end(self, epoch, logs=None):
        """Wait for the last step, and note the time."""
        del epoch
        float(logs["loss"])
        self.ends.append((time.perf_counter(), time.process_time()))
        if self._at_end is not None:
            self._at_end()


class Run(threading.Thread):
    """A fit that trains an epoch when it is its turn.

    Parameters
    ----------
    fit : callable
        Takes callbacks that stand before all others, and after; fits.
    """

    def __init__(self, fit):
        super().__init__(daemon=True)
        self._fit, self._error = fit, None
        self._go, self._done = threading.Semaphore(0), threading.Semaphore(0)
        self._first, self._last = Stamp(), Stamp(self._wait)

    def run(self):
        """Fit, and keep what was raised."""
        self._go.acquire()
        try:
            self._fit(self._first, self._last)
        except BaseException as error:  # noqa: BLE001 - raised again by `turn`
            self._error = error
        self._done.release()

    def _wait(self):
        self._done.release()
        self._go.acquire()

    def turn(self):
        """Let it train one epoch; the turn after the last ends the fit."""
        self._go.release()
        self._done.acquire()
        if self._error is not None:
            raise self._error

    def times(self, steps, warm):
        """Give milliseconds a step, and of an epoch's begin and end, by clock."""
        found = {}
        for place, clock in enumerate(("wall", "cpu")):
            a, b, c, d = (
                1000 * np.array(stamps)[warm:, place]
                for stamps in (
                    self._first.begins,
                    self._last.begins,
                    self._first.ends,
                    self._last.ends,
                )
            )
            found[clock] = ((c - b) / steps).tolist()
            found[f"{clock} between epochs"] = (b - a + d - c).tolist()
        return found


def take_turns(fits, *, rounds, steps, warm=3):
    """Run fits side by side: every round has an epoch of each, in any order.

    Parameters
    ----------
    fits : dict of str to callable
        What trains ``warm + rounds`` epochs of ``steps`` steps each.
    rounds, steps, warm : int
        Epochs that count, their steps, and the epochs before.

    Returns
    -------
    dict of str to dict of str to list of float
        Milliseconds by name and clock, one a round.
    """
    runs = {name: Run(fit) for name, fit in fits.items()}
    for run in runs.values():
        run.start()
    draw, names = np.random.default_rng(0), list(runs)
    for _ in range(warm + rounds + 1):
        for place in draw.permutation(len(names)):
            runs[names[place]].turn()
    return {name: run.times(steps, warm) for name, run in runs.items()}
