"""The demo's command line."""

from __future__ import annotations

import argparse

from ted_core.demo import arguments

__all__ = ["BACKENDS", "make_parser"]

BACKENDS = ("tensorflow", "jax", "torch")
"""Backends of Keras that TED trains on."""


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
    >>> from ted_keras.demo.arguments import make_parser
    >>> make_parser("demo").parse_args(["--backend", "jax"]).backend
    'jax'
    """
    parser = arguments.make_parser(program, out="ted_keras_demo.png")
    parser.add_argument(
        "--backend", choices=BACKENDS, help="backend of Keras (Keras' own choice)"
    )
    return parser
