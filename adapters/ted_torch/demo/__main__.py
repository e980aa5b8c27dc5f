"""Full data against TED and a random draw of as many samples, on pictures."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence

import torch

from ted_core.demo.arguments import check_arguments
from ted_core.demo.program import read_images, run_demo
from ted_torch.demo.arguments import make_parser
from ted_torch.demo.comparison import compare, warm_up
from ted_torch.demo.settings import Settings

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

    Notes
    -----
    The variants of a seed advance together, an epoch of each in turn, after an epoch
    that is thrown away: what slows the machine down meets all alike.
    """
    parser = make_parser("python -m ted_torch.demo")
    arguments = parser.parse_args(argv)
    check_arguments(parser, arguments)
    try:
        torch.empty(0, device=arguments.device)
    except (RuntimeError, AssertionError):
        parser.error(f"`--device` must be one that is there, got {arguments.device}")
    threads = torch.get_num_threads()
    torch.set_num_threads(arguments.threads)
    try:
        _run(arguments)
    except (ValueError, TypeError) as error:
        parser.error(str(error))
    finally:
        torch.set_num_threads(threads)
    return 0


def _run(arguments: argparse.Namespace) -> None:
    images, data, width = read_images(arguments)
    settings = Settings(
        epochs=arguments.epochs,
        prune_ratio=arguments.prune_ratio,
        batch_size=arguments.batch_size,
        width=width,
        device=arguments.device,
    )
    warm_up(images, settings)
    run_demo(
        arguments,
        name="ted_torch.demo",
        images=images,
        data=data,
        settings=settings,
        compare=compare,
        versions={"torch": torch.__version__},
    )


if __name__ == "__main__":
    sys.exit(main())
