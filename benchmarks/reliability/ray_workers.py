"""Kill one of two workers of Ray Train, and write ``records/ray_workers.json``.

``python benchmarks/reliability/ray_workers.py``. Ray starts the workers anew, and they
resume from its last checkpoint, of the middle of an epoch. The tests train the same in
Ray's local mode, for a cluster on one machine takes too long to start in every run.
"""

from __future__ import annotations

import json
import os
import platform
import sys
import tempfile
import time
from importlib.metadata import version
from pathlib import Path

HERE = Path(__file__).resolve().parent
SUPPORT = HERE.parents[1] / "tests" / "support"
sys.path.insert(0, str(SUPPORT))
# The workers find what this process finds.
os.environ["PYTHONPATH"] = os.pathsep.join(filter(None, sys.path))
os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ.setdefault("RAY_AUTH_MODE", "disabled")

import ray  # noqa: E402 - the folder is known now
from ray_run import WORKERS, fit, read  # noqa: E402

from ted_core import __version__  # noqa: E402
from ted_core.demo.engine import machine  # noqa: E402


def main():
    begun = time.perf_counter()
    ray.init(num_cpus=WORKERS, include_dashboard=False, log_to_driver=False)
    with tempfile.TemporaryDirectory() as folder:
        fit(Path(folder), WORKERS, kill=True)
        workers = [read(Path(folder), rank) for rank in range(WORKERS)]
    ray.shutdown()
    names = "scores", "weights"
    record = {
        "name": "one of two workers of Ray Train killed",
        "versions": {
            "ted-core": __version__,
            "python": platform.python_version(),
            **{name: version(name) for name in ("numpy", "torch", "ray")},
        },
        "machine": machine() | {"threads": 1},
        "seconds": round(time.perf_counter() - begun, 1),
        "workers": [
            {
                "steps": one["whole"]["steps"][0],
                "steps after the kill": len(one["resumed"]["forwarded"])
                * one["whole"]["steps"][0]
                // len(one["whole"]["forwarded"]),
                "equal": {n: one["whole"][n] == one["resumed"][n] for n in names},
            }
            for one in workers
        ],
    }
    text = json.dumps(record, indent=1) + "\n"
    (HERE / "records" / "ray_workers.json").write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main()
