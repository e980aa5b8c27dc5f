"""One process for each Keras backend: started when first asked for, ended at the end.

A process runs many checks in a row, for importing a backend takes longer than most of
them. Several processes run beside one another and beside the tests that start them.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path

__all__ = ["GROUPS", "result", "start", "stop"]

HERE = Path(__file__).parent
GROUPS = {"jax": "jax", "torch": "torch", "replicas": "tensorflow"}
"""Groups of checks, and the backend that each runs on, in a process of its own."""

_runs = {}
"""The run that a group's check is part of, by group and name of the check."""


class _Run:
    """A process that runs checks, and what each of them ended in."""

    def __init__(self, group, names):
        # The packages of a checkout, however this process found them.
        path = os.pathsep.join([str(HERE), *(entry for entry in sys.path if entry)])
        self.outcome = tempfile.TemporaryFile("w+")  # noqa: SIM115 - lives until `stop`
        self.process = subprocess.Popen(  # noqa: S603 - our own code
            [sys.executable, "-m", "keras_checks.runner", *names],
            stdout=self.outcome,
            stderr=subprocess.STDOUT,
            env={
                **os.environ,
                "KERAS_BACKEND": GROUPS[group],
                "PYTHONPATH": path,
                "TF_CPP_MIN_LOG_LEVEL": "3",
                "JAX_PLATFORMS": "cpu",
            },
        )
        self.ended = None

    def wait(self):
        """Return how each check ended, once all have."""
        if self.ended is None:
            self.process.wait(timeout=1200)
            self.outcome.seek(0)
            output = self.outcome.read()
            if self.process.returncode:
                raise RuntimeError(output)
            self.ended = json.loads(output.rstrip().rpartition("\n")[2])
        return self.ended

    def stop(self):
        """End the process, whatever it does."""
        self.process.kill()
        self.process.wait()
        self.outcome.close()


def start(group, names):
    """Start a process for the checks of a group that none has run yet."""
    new = [name for name in names if (group, name) not in _runs]
    if new:
        run = _Run(group, new)
        _runs.update({(group, name): run for name in new})


def result(group, name):
    """Wait for a group; raise what a check raised, or return what it returned."""
    raised, _, returned = _runs[group, name].wait()[name]
    if raised is not None:
        raise AssertionError(raised)
    return returned


def stop():
    """End every process that was started and forget its checks."""
    for run in set(_runs.values()):
        run.stop()
    _runs.clear()
