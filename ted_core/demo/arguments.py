"""The command line of the adapters' demos."""

from __future__ import annotations

import argparse
from importlib.util import find_spec
from pathlib import Path

__all__ = ["check_arguments", "make_parser"]

_NEEDED = ("sklearn", "matplotlib", "tqdm")


def make_parser(program: str, *, out: str) -> argparse.ArgumentParser:
    """Return the parser of the arguments that the demos share.

    Parameters
    ----------
    program : str
        What the user typed.
    out : str
        Picture to write by default.

    Returns
    -------
    argparse.ArgumentParser
        The parser.

    Examples
    --------
    >>> from ted_core.demo.arguments import make_parser
    >>> make_parser("demo", out="demo.png").parse_args(["--seeds", "2"]).seeds
    2
    """
    parser = argparse.ArgumentParser(
        prog=program,
        description="Small convolutional network: full data, TED, Random.",
    )
    add = parser.add_argument
    add(
        "--data",
        type=Path,
        metavar="PATH",
        help="a .npz file with x_train (n, H, W, 3) or (n, H, W), uint8, y_train, "
        "x_test and y_test, or a folder with a .npy of each (scikit-learn's digits)",
    )
    add("--seeds", type=int, default=3, help="runs a variant (3)")
    add("--epochs", type=int, default=16, help="epochs a run (16)")
    add("--prune-ratio", type=float, default=0.7, help="s (0.7)")
    add("--batch-size", type=int, default=64, help="samples of a step (64)")
    add("--threads", type=int, default=1, help="threads of the framework (1)")
    add(
        "--out",
        type=Path,
        default=Path(out),
        metavar="FILE",
        help=f"picture to write ({out})",
    )
    add("--record", type=Path, metavar="FILE", help="write all numbers as JSON")
    return parser


def check_arguments(
    parser: argparse.ArgumentParser, arguments: argparse.Namespace
) -> None:
    """End the program, before anything is trained, if it can't do its work.

    Parameters
    ----------
    parser : argparse.ArgumentParser
        Says what is wrong.
    arguments : argparse.Namespace
        What it parsed.

    Raises
    ------
    SystemExit
        A package is missing, a number is below 1, or a folder is not there.
    """
    missing = [name for name in _NEEDED if find_spec(name) is None]
    if missing:
        parser.exit(2, f"{missing[0]} is missing: pip install 'ted-core[demo]'\n")
    for name in ("seeds", "batch_size", "threads"):
        if getattr(arguments, name) < 1:
            flag, value = name.replace("_", "-"), getattr(arguments, name)
            parser.error(f"`--{flag}` must be at least 1, got {value}")
    for name in ("out", "record"):
        path = getattr(arguments, name)
        if path is not None and not path.parent.is_dir():
            parser.error(f"`--{name}` must be in a folder that is there, got {path}")
