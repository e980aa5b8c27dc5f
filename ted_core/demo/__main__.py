"""Full data against TED and a random draw of as many samples, on the digits."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from ted_core.demo.data import load_digits
from ted_core.demo.pictures import draw
from ted_core.demo.table import make_table
from ted_core.demo.training import Run, train
from ted_core.pruner import Pruner
from ted_core.strategies import Random, Strategy, TopScore

__all__ = ["main"]


def main(argv: Sequence[str] | None = None) -> int:
    """Run the demonstration.

    Parameters
    ----------
    argv : sequence of str, optional
        Arguments after the program's name; those of the process by default.

    Returns
    -------
    int
        Exit status.
    """
    parser = argparse.ArgumentParser(
        prog="python -m ted_core.demo",
        description="Softmax regression on handwritten digits: full data, TED, Random.",
    )
    parser.add_argument("--seeds", type=int, default=5, help="runs a variant (5)")
    parser.add_argument("--epochs", type=int, default=60, help="epochs a run (60)")
    parser.add_argument("--prune-ratio", type=float, default=0.7, help="s (0.7)")
    parser.add_argument("--out", type=Path, default=Path("ted_demo.png"))
    arguments = parser.parse_args(argv)
    if arguments.seeds < 1:
        parser.error(f"--seeds must be at least 1, got {arguments.seeds}")
    try:
        from tqdm import tqdm  # noqa: PLC0415 - an extra

        digits = load_digits()
    except ModuleNotFoundError as error:
        parser.exit(2, f"{error.name} is missing: pip install 'ted-core[demo]'\n")
    n = len(digits.x_train)
    variants: dict[str, tuple[float, Strategy]] = {
        "full": (0.0, TopScore()),
        "random": (arguments.prune_ratio, Random()),
        "TED": (arguments.prune_ratio, TopScore()),
    }
    runs: dict[str, list[Run]] = {name: [] for name in variants}
    with tqdm(total=arguments.seeds * len(variants), unit="run") as bar:
        for seed in range(arguments.seeds):
            for name, (ratio, strategy) in variants.items():
                pruner = Pruner(
                    n,
                    epochs=arguments.epochs,
                    prune_ratio=ratio,
                    strategy=strategy,
                    seed=seed,
                )
                runs[name].append(train(digits, pruner, seed=seed))
                bar.update()
    print(make_table(runs))
    draw(arguments.out, runs["TED"][0], digits.x_train.reshape(-1, 8, 8))
    print(f"wrote {arguments.out}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
