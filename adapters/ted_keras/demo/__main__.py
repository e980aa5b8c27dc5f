"""Full data against TED and a random draw of as many samples, on pictures."""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
from collections.abc import Sequence
from importlib import import_module
from importlib.util import find_spec

import keras
from keras import backend

from ted_core import Pruner
from ted_core.demo import Settings
from ted_core.demo.arguments import check_arguments
from ted_core.demo.program import read_images, run_demo
from ted_keras.demo.arguments import make_parser
from ted_keras.demo.backends import environment
from ted_keras.demo.comparison import compare, warm_up

__all__ = ["main"]

_NOTE = (
    "without the first and the last batch of a run's first epoch: Keras compiles there"
)


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
    Keras and its backends read backend and threads when they start: the training
    runs in a process of its own. The variants take turns, run by run, after an epoch
    that is thrown away.
    """
    parser = make_parser("python -m ted_keras.demo")
    arguments = parser.parse_args(argv)
    name = arguments.backend or backend.backend()
    check_arguments(parser, arguments)
    if find_spec(name) is None:
        parser.exit(2, f"{name} is missing: pip install {name}\n")
    wanted = environment(name, arguments.threads)
    if any(os.environ.get(key) != value for key, value in wanted.items()):
        given = sys.argv[1:] if argv is None else argv
        line = [sys.executable, "-m", "ted_keras.demo", *given]
        # Our own program, with the arguments that were just parsed.
        done = subprocess.run(line, check=False, env={**os.environ, **wanted})  # noqa: S603
        return done.returncode
    try:
        _run(arguments)
    except (ValueError, TypeError) as error:
        parser.error(str(error))
    return 0


def _run(arguments: argparse.Namespace) -> None:
    images, data, width = read_images(arguments)
    settings = Settings(
        epochs=arguments.epochs,
        prune_ratio=arguments.prune_ratio,
        batch_size=arguments.batch_size,
        width=width,
    )
    # Refused before anything is trained.
    Pruner(
        len(images.y_train), epochs=settings.epochs, prune_ratio=settings.prune_ratio
    )
    warm_up(images, settings)
    name = backend.backend()
    run_demo(
        arguments,
        name=f"ted_keras.demo, {name}",
        images=images,
        data=data,
        settings=settings,
        compare=compare,
        note=_NOTE,
        versions={"keras": keras.__version__, name: import_module(name).__version__},
    )


if __name__ == "__main__":
    sys.exit(main())
