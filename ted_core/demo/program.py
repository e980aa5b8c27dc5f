"""What the adapters' demos do: compare on each seed, then table, record, picture."""

from __future__ import annotations

import argparse
import json
from collections.abc import Callable, Mapping
from typing import Any

from ted_core.demo.images import Images, digits_as_images, load_images
from ted_core.demo.pictures import draw
from ted_core.demo.records import load_average, make_record, make_result
from ted_core.demo.runs import VARIANTS, Settings, TimedRun
from ted_core.demo.table import make_table

__all__ = ["read_images", "run_demo"]

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
