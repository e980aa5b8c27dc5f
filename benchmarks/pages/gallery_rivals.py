"""Committed results as pictures: scarce and plenty, and TED against rivals.

``python benchmarks/pages/gallery_rivals.py --pictures`` draws two pages of
``docs/gallery`` from the records of ``benchmarks/paper``; nothing is trained.
``--png FOLDER`` writes the pictures there as PNG, light and dark, to look at.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path

import numpy as np
from gallery_pages import grouped, markdown, spread, with_table
from gallery_pictures import BLUE, GREEN, ORANGE, PINK
from gallery_themes import write_pictures, write_previews
from matplotlib.figure import Figure

__all__ = ["PICTURES", "SCRIPT", "amounts", "read", "rivals", "tables"]

ROOT = Path(__file__).resolve().parents[2]
RECORDS = ROOT / "benchmarks/paper/records"
SCRIPT = "gallery_rivals.py"
AMOUNTS = {
    "confirm_cifar10_1250": "CIFAR-10, 1,250",
    "confirm_scarce": "CIFAR-10, 5,000",
    "confirm_cifar10_20000": "CIFAR-10, 20,000",
    "confirm_cifar100_20000": "CIFAR-100, 20,000",
    "confirm_fashion_2500": "Fashion-MNIST, 2,500",
    "confirm_fashion_10000": "Fashion-MNIST, 10,000",
    "confirm_plenty": "Fashion-MNIST, 20,000",
}
RIVALS = {
    "cpu_scarce": "scarce: 5,000 of CIFAR-10",
    "cpu_plenty": "plenty: 20,000 of Fashion-MNIST",
}
OURS = ["TED", "TED-loss"]
LOOKS = {
    "TED": (ORANGE, "o"),
    "TED-loss": (GREEN, "s"),
    "margin": (BLUE, "^"),
    "SoftTop 1, margin": (PINK, "D"),
}


def read():
    """Return the records by name."""
    return {
        name: json.loads((RECORDS / f"{name}.json").read_text(encoding="utf-8"))
        for name in (*AMOUNTS, *RIVALS)
    }


def amounts(records):
    """Return each method's points over Random, paired by seed, by data set."""
    over = {}
    for name in AMOUNTS:
        accuracy = {
            method: {run["seed"]: 100 * run["accuracy"] for run in runs}
            for method, runs in grouped(records[name]["runs"], "method")
        }
        over[name] = {
            method: [accuracy[method][s] - r for s, r in accuracy["Random"].items()]
            for method in LOOKS
        }
    return over


def rivals(records):
    """Return each method's accuracy and share of samples saved, by data set."""
    found = {}
    for name in RIVALS:
        runs = dict(grouped(records[name]["runs"], "method"))
        full = runs["full"][0]["samples_forwarded"]
        found[name] = {
            method: (
                [100 * run["accuracy"] for run in own],
                1 - np.mean([run["samples_forwarded"] for run in own]) / full,
            )
            for method, own in runs.items()
        }
    return found


def tables(records):
    """Return the Markdown table of each page, by the page's name."""
    head = ["data, pictures", *LOOKS]
    rows = [
        [AMOUNTS[name], *(spread(points, 2) for points in over.values())]
        for name, over in amounts(records).items()
    ]
    record = records["confirm_scarce"]
    scarce = markdown(record, head, rows, seeds=record["config"]["seeds"])
    found, head = rivals(records), ["method"]
    for title in RIVALS.values():
        head += [f"{title}: accuracy, %", "samples saved, %"]
    rows = []
    for method in found["cpu_scarce"]:
        row = [method]
        for methods in found.values():
            accuracy, saved = methods[method]
            row += [spread(accuracy, 2), f"{100 * saved:.1f}"]
        rows.append(row)
    record = records["cpu_scarce"]
    rival = markdown(record, head, rows, seeds=record["config"]["seeds"])
    return {"scarce_and_plenty": scarce, "rivals": rival}


def draw_amounts(records, ink):
    """Draw the points over Random, one row a data set."""
    figure = Figure(figsize=(7.5, 4.2), layout="constrained")
    axes, over = figure.subplots(), amounts(records)
    axes.axvline(0, color=ink, lw=1)
    for shift, (method, (colour, mark)) in zip(
        (-0.24, -0.08, 0.08, 0.24), LOOKS.items(), strict=True
    ):
        points = [methods[method] for methods in over.values()]
        axes.errorbar(
            np.mean(points, axis=1),
            np.arange(len(over)) + shift,
            xerr=np.std(points, axis=1, ddof=1),
            fmt=mark,
            color=colour,
            ms=5,
            elinewidth=1,
            label=method,
        )
    axes.set_yticks(range(len(over)), AMOUNTS.values())
    axes.invert_yaxis()
    axes.set(xlabel="points of accuracy over Random (mean and sd over seeds)")
    figure.legend(loc="outside upper center", ncols=4)
    return figure


def sd1(values):
    """Return the standard deviation over seeds."""
    return np.std(values, ddof=1)


def draw_rivals(records, ink):
    """Draw each method's accuracy, one panel a data set."""
    figure = Figure(figsize=(8.4, 4), layout="constrained")
    panels, found = figure.subplots(1, 2, sharey=True), rivals(records)
    for axes, (name, methods) in zip(panels, found.items(), strict=True):
        mean, sd = (
            {m: f(own[0]) for m, own in methods.items()} for f in (np.mean, sd1)
        )
        for part, colour, mark in (
            (OURS, ORANGE, "o"),
            ([m for m in methods if m not in OURS], BLUE, "s"),
        ):
            axes.errorbar(
                [mean[m] for m in part],
                [list(methods).index(m) for m in part],
                xerr=[sd[m] for m in part],
                fmt=mark,
                color=colour,
                ms=5,
                elinewidth=1,
            )
        axes.axvline(mean["Random"], color=ink, lw=1, ls=":")
        axes.set(title=RIVALS[name], xlabel="test accuracy in %")
        axes.locator_params(axis="x", nbins=5)
        axes.tick_params(axis="y", length=0)
    labels = []
    for method in methods:
        scarce, plenty = (100 * own[method][1] for own in found.values())
        labels.append(f"{method} ({scarce:.0f}, {plenty:.0f} %)")
    panels[0].set_yticks(range(len(labels)), labels)
    panels[0].invert_yaxis()
    return figure


PICTURES = {"scarce_and_plenty": draw_amounts, "rivals": draw_rivals}


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--pictures", action="store_true", help="what it does anyway")
    parser.add_argument("--png", type=Path, help="folder for pictures to look at")
    arguments, records = parser.parse_args(), read()
    if arguments.png:
        write_previews(records, arguments.png, PICTURES)
        return
    write_pictures(records, ROOT / "docs/gallery", PICTURES)
    for name, table in tables(records).items():
        path = ROOT / f"docs/gallery/{name}.md"
        text = with_table(path.read_text(encoding="utf-8"), table, script=SCRIPT)
        path.write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main()
