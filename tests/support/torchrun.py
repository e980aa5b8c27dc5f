"""Start a script of this folder on several processes and read their records."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

__all__ = ["records"]

SUPPORT = Path(__file__).parent


def records(script, size, folder):
    """Run `script` under torchrun; give what each rank wrote, in their order."""
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone"]
    command += [f"--nproc-per-node={size}", str(SUPPORT / script), str(folder)]
    done = subprocess.run(  # noqa: S603 - our own script
        command,
        check=False,
        capture_output=True,
        text=True,
        timeout=300,
        cwd=folder,
        env={**os.environ, "PYTHONPATH": _path(), "OMP_NUM_THREADS": "1"},
    )
    assert done.returncode == 0, done.stderr
    return [json.loads((folder / f"{rank}.json").read_text()) for rank in range(size)]


def _path():
    return os.pathsep.join(filter(None, [str(SUPPORT), os.environ.get("PYTHONPATH")]))
