"""Start a script of this folder on several processes and read their records."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from importlib import import_module
from pathlib import Path

__all__ = ["CASES", "read", "records", "start"]

SUPPORT = Path(__file__).parent
CASES = {
    "three ranks": ("rank_run", 3),
    "two ranks": ("rank_run", 2),
    "own shards": ("shard_run", 2),
    "parallel": ("parallel_run", 2),
    "accelerate": ("accelerate_runs", 2),
    "transformers": ("trainer_rank_run", 2),
    "trl": ("trl_rank_run", 2),
    "lightning": ("lightning_ranks", 2),
    "saved states": ("saved_ranks", 2),
    "ray": ("ray_run", 2),
}
"""What one start of three processes runs in turn: module and number of processes."""


def start(script, size, folder):
    """Run `script` under torchrun."""
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone"]
    command += [f"--nproc-per-node={size}", str(SUPPORT / script), str(folder)]
    done = subprocess.run(  # noqa: S603 - our own script
        command,
        check=False,
        capture_output=True,
        text=True,
        timeout=1200,
        cwd=folder,
        env={**os.environ, "PYTHONPATH": _path()},
    )
    assert done.returncode == 0, done.stderr


def read(size, folder):
    """Give what each process wrote, in the order of their ranks."""
    return [json.loads((folder / f"{rank}.json").read_text()) for rank in range(size)]


def records(script, size, folder):
    """Run `script` under torchrun; give what each rank wrote, in their order."""
    start(script, size, folder)
    return read(size, folder)


def _path():
    return os.pathsep.join(filter(None, [str(SUPPORT), os.environ.get("PYTHONPATH")]))


def main(folder):
    """Run each case on as many of the processes as it takes; the others go on."""
    rank = int(os.environ["RANK"])
    for name, (module, size) in CASES.items():
        if rank < size:
            place = folder / name
            place.mkdir(exist_ok=True)
            os.environ["WORLD_SIZE"] = str(size)  # frameworks read it
            import_module(module).main(rank, size, place)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
