"""What the adapters' demos do: compare on each seed, then table, record, picture."""

from __future__ import annotations

import argparse
import json
from collections.abc import Callable, Mapping
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from ted_core.demo.datasets import Images, digits_as_images, load_images
from ted_core.demo.pictures import draw
from ted_core.demo.results import (
    VARIANTS,
    Settings,
    TimedRun,
    load_average,
    make_record,
    make_result,
    make_table,
)

__all__ = [
    "check_arguments",
    "make_parser",
    "read_images",
    "run_demo",
]

_DIGITS_WIDTH, _DATA_WIDTH = 64, 16


def read_images(arguments: argparse.Namespace) -> tuple[Images, str, int]:
    """Return the data, what they are called, and a width for them.

    Parameters
    ----------
    arguments : argparse.Namespace
        With ``data``, a path or None.

    Returns
    -------
    images : Images
        Data.
    name : str
        Their name.
    width : int
        Channels of a network's first stage.

    Raises
    ------
    ValueError
        An array can't be read or does not fit.
    """
    if arguments.data is None:
        return digits_as_images(), "scikit-learn's digits", _DIGITS_WIDTH
    return load_images(arguments.data), arguments.data.name, _DATA_WIDTH


def run_demo(
    arguments: argparse.Namespace,
    *,
    name: str,
    images: Images,
    data: str,
    settings: Settings,
    compare: Callable[..., Mapping[str, TimedRun]],
    versions: Mapping[str, str],
    note: str = "",
) -> None:
    """Train the variants of each seed, and say what came of it.

    Parameters
    ----------
    arguments : argparse.Namespace
        ``seeds``, ``threads``, ``out`` and ``record``.
    name : str
        Name of the record.
    images : Images
        Data.
    data : str
        What the data are.
    settings : Settings
        Of all trainings.
    compare : callable
        Takes images, settings, ``seed`` and ``after_epoch``; gives a run a variant.
    versions : mapping of str to str
        Versions of the framework.
    note : str, optional
        A line under the table.
    """
    from tqdm import tqdm  # noqa: PLC0415 - an extra

    runs: dict[str, list[TimedRun]] = {variant: [] for variant in VARIANTS}
    results: list[dict[str, Any]] = []
    total = arguments.seeds * len(VARIANTS) * settings.epochs
    with tqdm(total=total, unit="epoch") as bar:
        for seed in range(arguments.seeds):
            load: list[float | None] = []

            def count(load: list[float | None] = load) -> None:
                load.append(load_average())
                bar.update()

            found = compare(images, settings, seed=seed, after_epoch=count)
            for variant, run in found.items():
                runs[variant].append(run)
                results.append(make_result(run, variant=variant, seed=seed, load=load))
    print(make_table(runs))
    if note:
        print(note)
    if arguments.record is not None:
        record = make_record(
            results,
            name=name,
            images=images,
            settings=settings,
            data=data,
            threads=arguments.threads,
            versions=versions,
        )
        text = json.dumps(record, indent=1) + "\n"
        arguments.record.write_text(text, encoding="utf-8")
        print(f"wrote {arguments.record}")
    draw(arguments.out, runs["TED"][0], images.x_train)
    print(f"wrote {arguments.out}")


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
    >>> from ted_core.demo.cli import make_parser
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
