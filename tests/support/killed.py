"""Ask the bench that kills trainings for a few trials, in a process of its own."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

__all__ = ["trials"]


def trials(host, kills, seed=0):
    """Give the trials of a host; no thread of the tests is there when it forks."""
    here = str(Path(__file__).parent)
    path = os.pathsep.join([here, *(entry for entry in sys.path if entry)])
    options = ["--kills", str(kills), "--seed", str(seed)]
    done = subprocess.run(  # noqa: S603 - our own code
        [sys.executable, "-m", "faults.main", host, *options],
        capture_output=True,
        text=True,
        timeout=600,
        check=False,
        env={
            **os.environ,
            "PYTHONPATH": path,
            "KERAS_BACKEND": "tensorflow",
            "TF_CPP_MIN_LOG_LEVEL": "3",
        },
    )
    if done.returncode:
        raise RuntimeError(done.stderr)
    return json.loads(done.stdout.rstrip().rpartition("\n")[2])["trials"]
