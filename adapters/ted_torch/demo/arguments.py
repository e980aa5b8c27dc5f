"""The demo's command line."""

from __future__ import annotations

import argparse

from ted_core.demo import arguments

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
    >>> make_parser("demo").parse_args(["--seeds", "2"]).device
    'cpu'
    """
    parser = arguments.make_parser(program, out="ted_torch_demo.png")
    parser.add_argument("--device", default="cpu", help="where to train (cpu)")
    return parser
