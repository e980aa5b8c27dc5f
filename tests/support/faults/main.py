"""Kill trainings of a host so many times, resume them, and write a record.

``python -m faults.main torch --kills 60 --out kills_torch.json``
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import random
import sys
import tempfile
import time
from importlib import import_module
from importlib.metadata import version
from pathlib import Path

from faults.trials import draw, reference, trial

from ted_core import __version__
from ted_core.demo.engine import machine

__all__ = ["main", "measure"]

HOSTS = {
    "torch": ("faults.torch_run", "run", 1, ["torch"]),
    "torch-in-place": ("faults.torch_run", "over_the_only_one", 1, ["torch"]),
    "ranks": ("faults.torch_run", "on_ranks", 2, ["torch"]),
    "keras": ("faults.keras_run", "run", 1, ["keras", "tensorflow-cpu"]),
    "keras-backup": ("faults.keras_run", "backed_up", 1, ["keras", "tensorflow-cpu"]),
    "jax": ("faults.jax_run", "run", 1, ["jax", "grain"]),
}
"""Module, function, ranks, and packages of each host."""

KILLS = [1, 1, 1, 2, 3]
"""How many kills in a row a run meets, drawn from these."""


def measure(host, kills, seed, folder):
    """Make trials until so many kills have hit; give the record's results."""
    module, name, ranks, _ = HOSTS[host]
    run = getattr(import_module(module), name)
    whole = reference(run, folder / "whole", ranks=ranks)
    rng = random.Random(seed)  # noqa: S311 - no secret
    trials, hit = [], 0
    while hit < kills:
        moments = [draw(rng, whole, ranks=ranks) for _ in range(rng.choice(KILLS))]
        moments = moments[: kills - hit]
        done = trial(run, folder / "trial", moments, whole, ranks=ranks)
        hit += len(done["kills"])
        if done["kills"]:
            trials.append(done)
    whole.pop("ends")
    return whole, trials


def main(argv=None):
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("host", choices=HOSTS)
    parser.add_argument("--kills", type=int, default=30)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--out", type=Path)
    options = parser.parse_args(argv)
    begun = time.perf_counter()
    with tempfile.TemporaryDirectory() as folder:
        whole, trials = measure(
            options.host, options.kills, options.seed, Path(folder).resolve()
        )
    packages = ["numpy", *HOSTS[options.host][3]]
    record = {
        "name": f"kills of {options.host}",
        "config": {"host": options.host, "kills": options.kills, "seed": options.seed},
        "versions": {
            "ted-core": __version__,
            "python": platform.python_version(),
            **{name: version(name) for name in packages},
        },
        "machine": machine() | {"threads": 1},
        "seconds": round(time.perf_counter() - begun, 1),
        "whole run": whole,
        "trials": trials,
    }
    if options.out:
        head = {k: v for k, v in record.items() if k != "trials"}
        text = json.dumps(head, indent=1)[:-2] + ',\n "trials": [\n'
        text += ",\n".join("  " + json.dumps(one) for one in trials) + "\n ]\n}\n"
        options.out.parent.mkdir(parents=True, exist_ok=True)
        options.out.write_text(text, encoding="utf-8")
    else:
        sys.stdout.write("\n" + json.dumps(record) + "\n")


if __name__ == "__main__":
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    main()
