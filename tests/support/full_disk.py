"""Save where the kernel lets no file grow beyond a size; say what became of it.

``python full_disk.py FOLDER {core,torch} BYTES``; ``FOLDER`` holds an older file.
"""

from __future__ import annotations

import json
import resource
import sys
from pathlib import Path

import numpy as np

import ted_core as ted

__all__ = ["attempt", "save_core", "save_torch"]


def save_core(path, n):
    ted.save_state(path, ted.Pruner(n, epochs=6).state_dict())


def save_torch(path, n):
    import torch  # noqa: PLC0415 - the core is tested without it

    with ted.atomic_write(path) as file:
        torch.save({"scores": torch.from_numpy(np.zeros(n, np.float32))}, file)


SAVE = {"core": save_core, "torch": save_torch}


def attempt(folder, kind, n=50_000):
    """Save beside an older file; give the error, and whether that file is whole."""
    path = folder / "state"
    before = path.read_bytes()
    try:
        SAVE[kind](path, n)
        error = None
    except Exception as raised:  # noqa: BLE001 - whatever it was is the result
        error = type(raised).__name__
    return {
        "error": error,
        "older file whole": path.read_bytes() == before,
        "other files": sorted(p.name for p in folder.iterdir() if p != path),
    }


if __name__ == "__main__":
    place, what, most = Path(sys.argv[1]), sys.argv[2], int(sys.argv[3])
    SAVE[what](place / "state", 50)
    if most:
        hard = resource.getrlimit(resource.RLIMIT_FSIZE)[1]
        resource.setrlimit(resource.RLIMIT_FSIZE, (most, hard))
    sys.stdout.write(json.dumps(attempt(place, what)) + "\n")
