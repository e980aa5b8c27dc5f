"""One of two processes of a training with JAX; a test starts both and reads them."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
from pathlib import Path

import jax
from jax_runs import Training

__all__ = ["records"]

PROCESSES = 2


def records(folder):
    """Train on all processes; give what each has seen."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        address = f"127.0.0.1:{free.getsockname()[1]}"
    path = os.pathsep.join([str(Path(__file__).parent), *filter(None, sys.path)])
    env = {**os.environ, "PYTHONPATH": path, "JAX_PLATFORMS": "cpu"}
    started = [
        subprocess.Popen(  # noqa: S603 - our own script
            [sys.executable, __file__, address, str(process), str(folder)], env=env
        )
        for process in range(PROCESSES)
    ]
    assert [one.wait(timeout=300) for one in started] == [0] * PROCESSES
    files = [folder / f"{process}.json" for process in range(PROCESSES)]
    return [json.loads(file.read_text()) for file in files]


def main(address, process, folder):
    jax.config.update("jax_cpu_collectives_implementation", "gloo")
    jax.distributed.initialize(address, PROCESSES, process)
    training = Training()
    for _ in training.run():
        pass
    record = {
        "forwarded": training.forwarded,
        "scores": training.pruner.scores.tolist(),
        "savings": repr(training.pruner.savings()),
    }
    (folder / f"{process}.json").write_text(json.dumps(record))


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]), Path(sys.argv[3]))
