"""Full data against TED and a random draw of as many samples, on the digits."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from importlib.util import find_spec
from pathlib import Path

from ted_core.demo.datasets import Digits, load_digits
from ted_core.demo.pictures import draw
from ted_core.demo.results import make_table
from ted_core.demo.training import Run, train
from ted_core.pruner import Pruner
from ted_core.strategies import Random, Strategy, TopScore

__all__ = ["main"]

_NEEDED = ("sklearn", "matplotlib", "tqdm")


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

    Notes
    -----
    The variants take turns, seed by seed and each in every place, after a run that
    is thrown away: what warms the machine up or slows it down meets all alike.
    """
    parser = argparse.ArgumentParser(
        prog="python -m ted_core.demo",
        description="Softmax regression on handwritten digits: full data, TED, Random.",
    )
    parser.add_argument("--seeds", type=int, default=5, help="runs a variant (5)")
    parser.add_argument("--epochs", type=int, default=60, help="epochs a run (60)")
    parser.add_argument("--prune-ratio", type=float, default=0.7, help="s (0.7)")
    parser.add_argument(
        "--out",
        type=Path,
        default=Path("ted_demo.png"),
        metavar="FILE",
        help="picture to write (ted_demo.png)",
    )
    arguments = parser.parse_args(argv)
    missing = [name for name in _NEEDED if find_spec(name) is None]
    if missing:
        parser.exit(2, f"{missing[0]} is missing: pip install 'ted-core[demo]'\n")
    if arguments.seeds < 1:
        parser.error(f"`--seeds` must be at least 1, got {arguments.seeds}")
    if not arguments.out.parent.is_dir():
        parser.error(f"`--out` must be in a folder that is there, got {arguments.out}")
    digits = load_digits()
    try:
        runs = _train_all(digits, arguments)
    except (ValueError, TypeError) as error:
        parser.error(str(error))
    print(make_table(runs))
    draw(arguments.out, runs["TED"][0], digits.x_train.reshape(-1, 8, 8))
    print(f"wrote {arguments.out}")
    return 0


def _train_all(digits: Digits, arguments: argparse.Namespace) -> dict[str, list[Run]]:
    variants: dict[str, tuple[float, Strategy]] = {
        "full": (0.0, Random()),
        "random": (arguments.prune_ratio, Random()),
        "TED": (arguments.prune_ratio, TopScore()),
    }

    def run(name: str, seed: int) -> Run:
        ratio, strategy = variants[name]
        pruner = Pruner(
            len(digits.x_train),
            epochs=arguments.epochs,
            prune_ratio=ratio,
            strategy=strategy,
            seed=seed,
        )
        return train(digits, pruner, seed=seed)

    from tqdm import tqdm  # noqa: PLC0415 - an extra

    names = list(variants)
    runs: dict[str, list[Run]] = {name: [] for name in names}
    run("TED", 0)
    with tqdm(total=arguments.seeds * len(names), unit="run") as bar:
        for seed in range(arguments.seeds):
            first = seed % len(names)
            for name in names[first:] + names[:first]:
                runs[name].append(run(name, seed))
                bar.update()
    return runs


if __name__ == "__main__":
    sys.exit(main())
