"""One process for each Keras backend: started once, asked for any check's end."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path

__all__ = ["GROUPS", "result", "start"]

HERE = Path(__file__).parent
GROUPS = {"jax": "jax", "torch": "torch", "replicas": "tensorflow"}
"""Groups of checks, and the backend that each runs on, in a process of its own."""

_running = {}
_ended = {}


def start(group, names):
    """Start a group's process, once; it runs while other tests do."""
    if group in _running or group in _ended:
        return
    outcome = tempfile.TemporaryFile("w+")  # noqa: SIM115 - lives until it is read
    # The packages of a checkout, however this process found them.
    path = os.pathsep.join([str(HERE), *(entry for entry in sys.path if entry)])
    threads = dict.fromkeys(("OMP_NUM_THREADS", "MKL_NUM_THREADS"), "1")
    process = subprocess.Popen(  # noqa: S603 - our own code
        [sys.executable, "-m", "keras_checks.runner", *names],
        stdout=outcome,
        stderr=subprocess.STDOUT,
        env={
            **os.environ,
            **threads,
            "KERAS_BACKEND": GROUPS[group],
            "PYTHONPATH": path,
            "TF_CPP_MIN_LOG_LEVEL": "3",
            "JAX_PLATFORMS": "cpu",
        },
    )
    _running[group] = process, outcome


def result(group, name):
    """Wait for a group; raise what a check raised, or return what it returned."""
    if group in _running:
        process, outcome = _running.pop(group)
        with outcome:
            process.wait(timeout=600)
            outcome.seek(0)
            said = outcome.read()
        line = said.rstrip().rpartition("\n")[2]
        if process.returncode:
            raise RuntimeError(said)
        _ended[group] = json.loads(line)
    raised, _, returned = _ended[group][name]
    if raised is not None:
        raise AssertionError(raised)
    return returned
