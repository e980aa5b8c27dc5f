"""Run the tests of this folder, unless they have passed on the same files before.

``python benchmarks/tests/run.py``. They train for minutes and guard scripts, records,
and the pages made from them, which seldom change. A passing run writes the checksum of
all these files to ``passed.txt``, which is committed; without it the tests run.
"""

from __future__ import annotations

import hashlib
import subprocess
import sys
from pathlib import Path

HERE = Path(__file__).resolve().parent
ROOT = HERE.parents[1]
PASSED = HERE / "passed.txt"
FOLDERS = "benchmarks", "docs/adapters", "docs/gallery", "docs/method", "docs/results"
SUFFIXES = {".py", ".toml", ".json", ".md", ".svg"}


def checksum():
    """Return one checksum of what the tests of this folder read."""
    total = hashlib.sha256()
    for folder in FOLDERS:
        for path in sorted((ROOT / folder).rglob("*")):
            if path.suffix in SUFFIXES:
                total.update(path.relative_to(ROOT).as_posix().encode() + b"\0")
                total.update(hashlib.sha256(path.read_bytes()).digest())
    return total.hexdigest()


def main():
    """Run the tests where they are due; return their exit status."""
    now = checksum()
    if PASSED.exists() and PASSED.read_text(encoding="utf-8").strip() == now:
        print("benchmarks and their pages are as they were when their tests passed")
        return 0
    command = [sys.executable, "-m", "pytest", str(HERE)]
    status = subprocess.run(command, cwd=ROOT, check=False).returncode  # noqa: S603
    if status == 0:
        PASSED.write_text(now + "\n", encoding="utf-8")
    return status


if __name__ == "__main__":
    sys.exit(main())
