"""The demo's command line."""

from __future__ import annotations

import argparse
from pathlib import Path

__all__ = ["make_parser"]


def make_parser(program: str) -> argparse.ArgumentParser:
    """Return the parser of the demo's arguments.

    Parameters
    ----------
    program : str
        What the user typed.

    Returns
    -------
    argparse.ArgumentParser
        The parser.

    Examples
    --------
    >>> from ted_torch.demo.arguments import make_parser
    >>> make_parser("demo").parse_args(["--seeds", "2"]).seeds
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
    add("--device", default="cpu", help="where to train (cpu)")
    add("--threads", type=int, default=1, help="threads of PyTorch (1)")
    add(
        "--out",
        type=Path,
        default=Path("ted_torch_demo.png"),
        metavar="FILE",
        help="picture to write (ted_torch_demo.png)",
    )
    add("--record", type=Path, metavar="FILE", help="write all numbers as JSON")
    return parser
