"""Seconds and peak bytes of the core at each n, beside what a loader does.

``python benchmarks/scale/core.py --sizes 1e6 1e7`` runs each case in fresh processes,
one after the other, and adds what it measured to ``records/core.json``.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import subprocess
import sys
import tempfile
from importlib import import_module
from importlib.metadata import version
from pathlib import Path
from time import perf_counter, process_time

sys.path.insert(0, str(Path(__file__).resolve().parent))

from core_cases import CASES

RECORD = Path(__file__).resolve().parent / "records" / "core.json"
MEASURED = ("seconds", "processor seconds", "peak bytes")
SIZES = [10**6, 10**7, 10**8]


def repeats(n):
    """Return in how many processes each case runs."""
    return 5 if n < 10**7 else 3 if n < 10**8 else 1


def memory(name):
    """Return VmHWM, the peak, or VmRSS of this process in bytes."""
    for line in Path("/proc/self/status").read_text(encoding="utf-8").splitlines():
        if line.startswith(f"{name}:"):
            return 1024 * int(line.split()[1])
    raise KeyError(name)


def measure(name, n, folder):
    """Run one case here: seconds, and peak bytes above those of the imports.

    The peak starts anew after the case is set up, with what that left in memory.
    """
    if name.startswith("torch"):
        import_module("torch")
    prepare = CASES[name]
    before = memory("VmRSS")
    call, facts = prepare(n, folder)
    Path("/proc/self/clear_refs").write_text("5", encoding="utf-8")
    start, used = perf_counter(), process_time()
    result = call()
    found = {
        "seconds": perf_counter() - start,
        "processor seconds": process_time() - used,
        "peak bytes": memory("VmHWM") - before,
    }
    return {**found, **facts(result)}


def measure_apart(name, n):
    """Run one case in processes of its own; a list of each number."""
    runs = []
    for _ in range(repeats(n)):
        line = [sys.executable, __file__, "--case", name, "--sizes", str(n)]
        done = subprocess.run(line, capture_output=True, text=True, check=True)  # noqa: S603
        runs.append(json.loads(done.stdout))
    merged = {key: [run[key] for run in runs] for key in runs[0]}
    return {"n": n, "case": name, **merged}


def machine():
    """Return what ran this, in words and versions."""
    names = ("ted-core", "numpy", "torch")
    model = [
        line.partition(":")[2].strip()
        for line in Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
        if line.startswith("model name")
    ]
    return {
        "versions": {
            "python": platform.python_version(),
            **{name: version(name) for name in names},
        },
        "machine": {
            "arch": platform.machine(),
            "cores": os.cpu_count(),
            "processor": model[0] if model else "",
            "load before": os.getloadavg()[0],
        },
    }


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--sizes", type=float, nargs="+", default=SIZES)
    parser.add_argument("--cases", nargs="+", default=list(CASES), choices=CASES)
    parser.add_argument("--case", choices=CASES, help="run one case in this process")
    parser.add_argument("--out", type=Path, default=RECORD)
    arguments = parser.parse_args()
    sizes = [int(size) for size in arguments.sizes]
    if arguments.case:
        with tempfile.TemporaryDirectory(dir=Path.cwd()) as folder:
            print(json.dumps(measure(arguments.case, sizes[0], Path(folder))))
        return
    old = []
    if arguments.out.exists():
        old = json.loads(arguments.out.read_text(encoding="utf-8"))["results"]
    here = machine()
    for n in sizes:
        for name in arguments.cases:
            new = measure_apart(name, n)
            print(n, name, *(max(new[key]) for key in MEASURED), flush=True)
            old = [r for r in old if (r["n"], r["case"]) != (n, name)] + [new]
    places = list(CASES)
    old.sort(key=lambda r: (r["n"], places.index(r["case"])))
    record = {"name": "scale of the core", **here, "results": old}
    text = json.dumps(record, indent=1)
    arguments.out.write_text(text + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
