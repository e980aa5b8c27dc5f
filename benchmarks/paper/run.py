"""Train what a configuration asks for and keep a record of it, in pieces if need be.

``python benchmarks/paper/run.py CONFIG --data-dir DATA`` goes through methods and seeds
and writes ``benchmarks/paper/records/NAME.json`` after each. Started again it goes on
where it was: at the next run, or in a run at its next epoch, for which a checkpoint
lies in ``--work``. ``--limit-seconds`` ends a piece before the epoch that would not
end in time; the exit status is then 75 (try again).
"""

from __future__ import annotations

import argparse
import os
import sys
import time
from pathlib import Path

AGAIN = 75
HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE))


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("config", type=Path, help="name in configs/, or a TOML file")
    parser.add_argument("--data-dir", type=Path, default=Path())
    parser.add_argument("--seeds", type=int, help="how many; the configuration's own")
    parser.add_argument("--methods", nargs="+", help="some of the configuration's")
    parser.add_argument("--model", type=Path, help="folder of a model, for text")
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--limit-seconds", type=float, default=float("inf"))
    parser.add_argument("--out", type=Path, default=HERE / "records")
    parser.add_argument("--work", type=Path, default=Path("build/paper"))
    arguments = parser.parse_args()
    os.environ["OMP_NUM_THREADS"] = str(arguments.threads)  # read by what is imported
    from harness.pieces import Pieces  # noqa: PLC0415 - after the threads are set

    if not arguments.config.suffix:
        arguments.config = HERE / "configs" / f"{arguments.config}.toml"
    end = time.perf_counter() + arguments.limit_seconds
    pieces = Pieces(arguments, end)
    first = pieces.config.get("first_seed", 0)
    for seed in range(first, first + (arguments.seeds or pieces.config["seeds"])):
        for row in pieces.rows:
            if not pieces.run(*row, seed):
                print("time is up; start again to go on", flush=True)
                sys.exit(AGAIN)
    print("done", flush=True)


if __name__ == "__main__":
    main()
