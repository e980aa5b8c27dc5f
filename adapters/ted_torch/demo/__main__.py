"""Full data against TED and a random draw of as many samples, on pictures."""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Sequence
from importlib.util import find_spec
from typing import Any

import torch

from ted_core.demo.pictures import draw
from ted_core.demo.table import make_table
from ted_torch.demo.arguments import make_parser
from ted_torch.demo.comparison import VARIANTS, compare, warm_up
from ted_torch.demo.data import digits_as_images, load_images
from ted_torch.demo.records import load_average, make_record, make_result
from ted_torch.demo.runs import Settings, TorchRun

__all__ = ["main"]

_NEEDED = ("sklearn", "matplotlib", "tqdm")
_DIGITS_WIDTH, _DATA_WIDTH = 64, 16


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
    from tqdm import tqdm  # noqa: PLC0415 - an extra

    if arguments.data is None:
        images, data = digits_as_images(), "scikit-learn's digits"
        width = _DIGITS_WIDTH
    else:
        images, data, width = (
            load_images(arguments.data),
            arguments.data.name,
            _DATA_WIDTH,
        )
    settings = Settings(
        epochs=arguments.epochs,
        prune_ratio=arguments.prune_ratio,
        batch_size=arguments.batch_size,
        width=width,
        device=arguments.device,
    )
    runs: dict[str, list[TorchRun]] = {name: [] for name in VARIANTS}
    results: list[dict[str, Any]] = []
    warm_up(images, settings)
    total = arguments.seeds * len(VARIANTS) * settings.epochs
    with tqdm(total=total, unit="epoch") as bar:
        for seed in range(arguments.seeds):
            load: list[float | None] = []

            def note(load: list[float | None] = load) -> None:
                load.append(load_average())
                bar.update()

            found = compare(images, settings, seed=seed, after_epoch=note)
            for name, run in found.items():
                runs[name].append(run)
                results.append(make_result(run, variant=name, seed=seed, load=load))
    print(make_table(runs))
    if arguments.record is not None:
        record = make_record(
            results, name="ted_torch.demo", images=images, settings=settings, data=data
        )
        text = json.dumps(record, indent=1) + "\n"
        arguments.record.write_text(text, encoding="utf-8")
        print(f"wrote {arguments.record}")
    draw(arguments.out, runs["TED"][0], images.x_train)
    print(f"wrote {arguments.out}")


if __name__ == "__main__":
    sys.exit(main())
