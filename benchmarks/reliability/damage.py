"""Damage saved files, and fill disks; write ``records/damage.json``.

``python benchmarks/reliability/damage.py``. Where the system lets it mount, a full disk
is a small one of its own; the limit of a file's size is the kernel's everywhere.
"""

from __future__ import annotations

import argparse
import io
import json
import os
import pickle
import platform
import random
import subprocess
import sys
import tempfile
import time
import warnings
from collections import Counter
from importlib.metadata import version
from pathlib import Path

import torch

HERE = Path(__file__).resolve().parent
SUPPORT = HERE.parents[1] / "tests" / "support"
sys.path.insert(0, str(SUPPORT))

import fuzz_states  # noqa: E402 - the folder is known now
import fuzz_torch  # noqa: E402

import ted_core as ted  # noqa: E402
from ted_core.demo.engine import machine  # noqa: E402

FOREIGN = [b"", b"no state at all", b"PK\x03\x04", bytes(4096), b"\x89PNG\r\n\x1a\n"]


def core_file(folder):
    """Give the bytes of a saved core state, and what judges others."""
    path = folder / "state"
    ted.save_state(path, fuzz_states.part_way("TED", pending=True).state_dict())
    whole = path.read_bytes()
    want = fuzz_states.bits(ted.load_state(path))

    def judge(content):
        path.write_bytes(content)
        run = fuzz_states.make("TED")
        try:
            run.load_state_dict(ted.load_state(path))
        except ted.CheckpointError:
            return "refused"
        same = fuzz_states.bits(run.state_dict()) == want
        return "without effect" if same else "taken over, altered"

    return whole, judge


def torch_file():
    """Likewise of a session's state by ``torch.save``."""
    state = fuzz_torch.part_way().state_dict()
    file = io.BytesIO()
    torch.save(state, file)
    want = fuzz_torch.bits(state)

    def judge(content):
        try:
            read = torch.load(io.BytesIO(content), weights_only=True)
        except Exception:  # noqa: BLE001 - PyTorch's refusals are of many types
            return "refused by PyTorch"
        session = fuzz_torch.session()
        try:
            session.load_state_dict(read)
        except (ted.CheckpointError, TypeError) as error:
            sum_alone = str(error).startswith("`checksum`")
            return "refused by the checksum alone" if sum_alone else "refused"
        same = fuzz_torch.bits(session.state_dict()) == want
        return "without effect" if same else "taken over, altered"

    return file.getvalue(), judge


class Bomb:
    """What would make a folder if it were ever unpickled."""

    def __init__(self, place):
        self.place = str(place)

    def __reduce__(self):
        return os.mkdir, (self.place,)


def damaged(whole, judge, rng, times):
    """Yield one row for each kind of damage."""
    flipped, cut = Counter(), Counter()
    for _ in range(times):
        content, bit = bytearray(whole), rng.randrange(8 * len(whole))
        content[bit // 8] ^= 1 << bit % 8
        flipped[judge(bytes(content))] += 1
        cut[judge(whole[: rng.randrange(len(whole))])] += 1
    yield "one bit flipped", flipped
    yield "cut short", cut
    yield "foreign", Counter(judge(content) for content in FOREIGN)


def bombs(folder, judges):
    """Yield what became of a file that holds a call."""
    for kind, judge in judges.items():
        place = folder / f"executed-{kind}"
        content = pickle.dumps({"format": Bomb(place)})
        if kind == "torch.save":
            file = io.BytesIO()
            torch.save({"format": Bomb(place)}, file)
            content = file.getvalue()
        found = Counter([judge(content)])
        yield kind, "a call to execute", found, place.exists()


def full(kind, most):
    """Save where no file may grow beyond so many bytes; 0 is a full disk of 64 KiB."""
    with tempfile.TemporaryDirectory() as folder:
        mount = ["mount", "-t", "tmpfs", "-o", "size=64k", "tmpfs", folder]
        if not most and subprocess.run(mount, check=False).returncode:  # noqa: S603
            return None
        try:
            line = [
                sys.executable,
                str(SUPPORT / "full_disk.py"),
                folder,
                kind,
                str(most),
            ]
            done = subprocess.run(line, check=True, capture_output=True, text=True)  # noqa: S603
        finally:
            if not most:
                subprocess.run(["umount", folder], check=True)  # noqa: S603, S607
    how = f"no file beyond {most} bytes" if most else "a disk of 64 KiB, full"
    return {"file": kind, "how": how, **json.loads(done.stdout)}


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--times", type=int, default=2000)
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    warnings.simplefilter("ignore")
    torch.set_num_threads(1)
    begun, rng = time.perf_counter(), random.Random(options.seed)  # noqa: S311
    results = []
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        files = {"save_state": core_file(folder), "torch.save": torch_file()}
        for kind, (whole, judge) in files.items():
            for damage, found in damaged(whole, judge, rng, options.times):
                results.append({"file": kind, "damage": damage, "outcomes": found})
        judges = {kind: judge for kind, (_, judge) in files.items()}
        for kind, damage, found, executed in bombs(folder, judges):
            row = {"file": kind, "damage": damage, "outcomes": found}
            results.append({**row, "executed": executed})
    disks = [
        full(kind, most) for kind in ("core", "torch") for most in (0, 5000, 100_000)
    ]
    record = {
        "name": "damage",
        "config": {"times": options.times, "seed": options.seed},
        "versions": {
            "ted-core": ted.__version__,
            "python": platform.python_version(),
            **{name: version(name) for name in ("numpy", "torch")},
        },
        "machine": machine(),
        "seconds": round(time.perf_counter() - begun, 1),
        "damaged files": results,
        "full disks": [row for row in disks if row is not None],
    }
    out = HERE / "records" / "damage.json"
    out.parent.mkdir(exist_ok=True)
    out.write_text(json.dumps(record, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
