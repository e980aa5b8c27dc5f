"""A training under watch: how far it is, and the moment at which it dies."""

from __future__ import annotations

import mmap
import os
import resource
import signal
import struct
import sys
from contextlib import contextmanager
from dataclasses import asdict, dataclass

__all__ = ["Moment", "Watch"]

CALLS = {"open", "write", "flush", "fsync", "replace", "rename", "mkdir", "unlink"}
"""Calls into the system by which a checkpoint is written, as Python names them."""

PHASES = "starting", "training", "saving", "removed", "ended"
_LAYOUT = struct.Struct("<4i24s")


@dataclass(frozen=True)
class Moment:
    """When a training dies.

    Parameters
    ----------
    kind : {"step", "time", "call", "byte"}
        At the begin of a step; after a share of the run's seconds, wherever that is;
        before or after a call into the system in a saving; when a file that a saving
        writes would grow beyond a size, which the kernel sees to.
    at : float
        Step, share, number of the call, or bytes.
    saving : int
        Which saving, for the last two; from 1.
    after : bool
        Whether it is after the call.
    rank : int
        Which process.
    """

    kind: str
    at: float
    saving: int = 0
    after: bool = False
    rank: int = 0

    def as_record(self):
        return asdict(self)


class Watch:
    """What a parent knows of a child that it forked, also of one that is dead."""

    def __init__(self, moment=None):
        self.moment = moment
        self.attempt = 0
        self.steps = self.savings = self.calls = 0
        self.most_calls = 0
        self._shared = mmap.mmap(-1, _LAYOUT.size)
        self.tell("starting")

    def tell(self, phase, place=""):
        _LAYOUT.pack_into(
            self._shared,
            0,
            PHASES.index(phase),
            self.steps,
            self.savings,
            self.most_calls,
            place.encode()[:24],
        )

    def read(self):
        """Give phase, steps, savings, calls of the longest saving, and the place."""
        phase, steps, savings, calls, place = _LAYOUT.unpack_from(self._shared)
        return {
            "phase": PHASES[phase],
            "steps": steps,
            "savings": savings,
            "calls": calls,
            "place": place.rstrip(b"\0").decode(),
        }

    def step(self):
        """Begin a step of training."""
        self.steps += 1
        self.tell("training")
        moment = self.moment
        if moment is not None and moment.kind == "step" and self.steps == moment.at:
            self._die("begin of a step")

    @contextmanager
    def saving(self):
        """Watch over the writing of a checkpoint."""
        self.savings += 1
        self.tell("saving")
        moment = self.moment
        mine = moment is None or moment.saving == self.savings
        if mine and (moment is None or moment.kind == "call"):
            self.calls = 0
            sys.setprofile(self._profile)
        if mine and moment is not None and moment.kind == "byte":
            self.tell("saving", f"byte {int(moment.at)} of a file")
            signal.signal(signal.SIGXFSZ, signal.SIG_DFL)
            hard = resource.getrlimit(resource.RLIMIT_FSIZE)[1]
            resource.setrlimit(resource.RLIMIT_FSIZE, (int(moment.at), hard))
        try:
            yield
        finally:
            sys.setprofile(None)
            self.most_calls = max(self.most_calls, self.calls)
        if mine and moment is not None and moment.kind == "byte":
            resource.setrlimit(resource.RLIMIT_FSIZE, (hard, hard))
        self.tell("training")

    def _profile(self, _frame, event, function):
        if event not in {"c_call", "c_return"} or function.__name__ not in CALLS:
            return
        after = event == "c_return"
        self.calls += not after
        moment = self.moment
        if moment is not None and (self.calls, after) == (moment.at, moment.after):
            self._die(f"{'after' if after else 'before'} {function.__name__}")

    def _die(self, place):
        self.tell(self.read()["phase"], place)
        os.kill(os.getpid(), signal.SIGKILL)
