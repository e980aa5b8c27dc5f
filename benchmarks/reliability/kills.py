"""Kill trainings of one host, resume them, and write ``records/kills_HOST.json``.

``python benchmarks/reliability/kills.py torch --kills 60``; hosts are ``torch``,
``torch-in-place``, ``ranks``, ``keras``, ``keras-backup`` and ``jax``.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path

HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parents[1] / "tests" / "support"))
os.environ.setdefault("KERAS_BACKEND", "tensorflow")
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
os.environ.setdefault("OMP_NUM_THREADS", "1")

from faults.main import main  # noqa: E402 - the folder is known now

if __name__ == "__main__":
    name = sys.argv[1] if len(sys.argv) > 1 else ""
    out = HERE / "records" / f"kills_{name.replace('-', '_')}.json"
    main([*sys.argv[1:], "--out", str(out)])
